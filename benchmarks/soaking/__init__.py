"""What `benchmarks.soak` sends, and how it tells whether the answers are right."""
