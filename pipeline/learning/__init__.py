"""The networks: built, fitted, exported, asked. TensorFlow is imported here and nowhere else."""
