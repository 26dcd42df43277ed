package easyopsv1_test

import (
	"strings"
	"testing"

	easyopsv1 "github.com/go-easyops/easyops/proto/easyops/v1"
)

func TestSourceFitsTheGeneratedCode(t *testing.T) {
	if got := easyopsv1.File_easyops_v1_options_proto.Path(); got != easyopsv1.SourcePath {
		t.Errorf("generated from %s, not from %s", got, easyopsv1.SourcePath)
	}
	for _, want := range []string{"package easyops.v1;", "ServiceRules service = 51700;", "MethodRules method = 51701;"} {
		if !strings.Contains(easyopsv1.Source(), want) {
			t.Errorf("the source has no %q", want)
		}
	}
}

// The numbers are in the .proto files and descriptors of users.
func TestNumbers(t *testing.T) {
	service, method := easyopsv1.E_Service.TypeDescriptor(), easyopsv1.E_Method.TypeDescriptor()
	if service.Number() != 51700 || service.FullName() != "easyops.v1.service" {
		t.Error(service)
	}
	if method.Number() != 51701 || method.FullName() != "easyops.v1.method" {
		t.Error(method)
	}
}
