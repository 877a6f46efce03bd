"""How fast is the service, beside other servers on the same model and machine, and beside bare ONNX Runtime?"""
