"""WHEN it happens: retraining, promotion, monitoring and studies as Prefect flows. No digit logic, no maths."""
