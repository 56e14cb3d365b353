"""Where figures of a run go besides its folder: TensorBoard, MLflow, a table, or what a stranger's package brings."""
