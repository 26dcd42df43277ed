package easyops

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestAnswerIsNoError: the log and the overview have an error of an answer only
// where it says that something is wrong.
func TestAnswerIsNoError(t *testing.T) {
	for status, fails := range map[int]bool{
		http.StatusOK: false, http.StatusNoContent: false, http.StatusFound: false,
		http.StatusNotFound: true, http.StatusInternalServerError: true,
	} {
		r := &response{ResponseWriter: httptest.NewRecorder(), call: &call{}}
		r.WriteHeader(status)
		if (r.err != nil) != fails {
			t.Errorf("%d: %v, %v", status, r.code, r.err)
		}
	}
}
