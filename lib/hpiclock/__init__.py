"""hpiclock: is this field infected, for how long, and can I believe the answer?"""
