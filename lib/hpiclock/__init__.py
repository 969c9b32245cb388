"""hpiclock: is this field infected, for how long, and can I believe the answer?"""

import os

# onnxruntime asks for it when it is imported: a command sends nothing and leaves nothing in the home folder
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
