module tools/prometheus-operator

go 1.26.0

// Not built: only the definitions in it are read.
require github.com/prometheus-operator/prometheus-operator v0.85.0
