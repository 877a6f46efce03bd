"""The champion answering: predictor, HTTP service, web page; no TensorFlow."""
