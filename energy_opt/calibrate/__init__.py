"""Making device profiles: microbenchmarks or tables of measurements in, fitted coefficients with their errors out."""
