package easyops

import "context"

// checkResults returns the last result of each check as the pages show it.
func (s *Server) checkResults() map[string]error {
	results := map[string]error{}
	for _, c := range s.healthPage(context.Background()).Checks {
		results[c.Name] = c.Err
	}
	return results
}
