"""What several stages need: recipes, data to train on, a training job, specification, scoring, results."""
