// Package metrics counts and times the calls of one server on a Prometheus
// registry of that server's own, under the names and labels of gRFC A66.
package metrics
