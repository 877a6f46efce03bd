"""What every room stands on: params, places, files, errors, processes."""
