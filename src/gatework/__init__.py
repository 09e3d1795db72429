"""Train sequence models and ship each as one small file."""
