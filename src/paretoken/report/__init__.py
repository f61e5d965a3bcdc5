"""What is shown of a run: MLflow, figures, tables. Everything comes from `paretoken.analysis.Results`."""
