package easyopstest_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	greeterv1 "github.com/go-easyops/easyops/example/gen/greeter/v1"
	"github.com/go-easyops/easyops/runtime/auth"
	"github.com/go-easyops/easyops/runtime/easyops"
	"github.com/go-easyops/easyops/runtime/easyopstest"
	"github.com/go-easyops/easyops/runtime/flags"
)

// A test calls its service as whom it likes.
func ExampleAsUser() {
	_ = func(t *testing.T) { // func TestGreetMe(t *testing.T)
		s := easyopstest.Start(t, []easyops.Service{greeterv1.BindGreeterServiceServer(relay{})})
		greeter, conn, err := greeterv1.DialGreeterService(s.Client(), easyopstest.AsUser("alice", "staff"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := greeter.GreetMe(t.Context(), &greeterv1.GreetMeRequest{}); err != nil {
			t.Error(err)
		}
	}
}

// The rule says that services may not call, and the server keeps to it.
func ExampleAsService() {
	_ = func(t *testing.T) { // func TestGreetMeIsForUsers(t *testing.T)
		s := easyopstest.Start(t, []easyops.Service{greeterv1.BindGreeterServiceServer(relay{})})
		greeter, conn, err := greeterv1.DialGreeterService(s.Client(), easyopstest.AsService("billing"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = greeter.GreetMe(t.Context(), &greeterv1.GreetMeRequest{})
		if code := status.Code(err); code != codes.PermissionDenied {
			t.Errorf("a service is answered with %v", code)
		}
	}
}

// The whole test of who may call.
func ExampleAccessMatrix() {
	_ = func(t *testing.T) { // func TestAccess(t *testing.T)
		easyopstest.AccessMatrix(t, greeterv1.BindGreeterServiceServer(relay{}))
	}
}

var limit = flags.New("echo.limit", 100, "most items in an answer")

// A flag has another value in one test.
func ExampleSetFlag() {
	_ = func(t *testing.T) { // func TestFewItems(t *testing.T)
		easyopstest.SetFlag(t, limit, 2)
		if limit.Get() != 2 { // until the end of the test
			t.Error(limit.Get())
		}
	}
}

// A program that sets rules by easyops.WithAccess names them here as well.
func ExampleOverrides() {
	_ = func(t *testing.T) { // func TestAccess(t *testing.T)
		easyopstest.Overrides{
			"greeter.v1.GreeterService/Greet": {Allow: auth.Users, Groups: []string{"staff"}},
		}.AccessMatrix(t, greeterv1.BindGreeterServiceServer(relay{}))
	}
}
