package easyops

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-easyops/easyops/runtime/auth"
)

// Routes of one name are served by their own rule each, also where the rules read the
// same.
func TestRulesThatReadTheSame(t *testing.T) {
	rules := map[string]auth.Access{
		"two":      {Groups: []string{"staff", "admins"}},
		"one":      {Groups: []string{"staff, admins"}},
		"both":     {Groups: []string{"staff"}, Services: []string{"shop"}},
		"group":    {Groups: []string{"staff services: shop"}},
		"none":     {Services: []string{"shop"}},
		"quotes":   {Groups: []string{`staff" "admins`}},
		"brackets": {Groups: []string{`staff"}, Services:[]string{"x`}},
	}
	eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
		routes := newTable(rules)
		for _, to := range routes.routes {
			to.Name = "same"
		}
		r := newRig(t, w, &funcs{}, append(opts, WithAuthenticator(byWord), WithProxy(routes))...)
		conn := r.dial()
		for _, test := range []struct {
			first string
			want  codes.Code
		}{
			{"two", codes.OK},
			{"one", codes.PermissionDenied},
			{"both", codes.OK},
			{"group", codes.PermissionDenied},
			{"none", codes.OK},
			{"quotes", codes.PermissionDenied},
			{"brackets", codes.PermissionDenied},
		} {
			_, err := invoke(as(t.Context(), "user.alice.staff", "service.shop"), conn, "/"+test.first+"/Method")
			wantEqual(t, test.first, status.Code(err), test.want)
			code := map[codes.Code]int{codes.OK: 200, codes.PermissionDenied: 403}[test.want]
			wantEqual(t, test.first+" by HTTP", r.ask("/"+test.first, "user.alice.staff", "service.shop").code, code)
		}
		wantEqual(t, "records", len(r.routed.all), len(rules))
	})
}

// A handler of the user's for unknown methods is not reached by the rule of a route,
// nor beside it.
func TestRoutesAndUnknownServiceHandlers(t *testing.T) {
	eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
		ran := 0
		opts = append(opts, WithAuthenticator(byWord), WithGRPC(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
			ran++
			return status.Error(codes.DataLoss, "the user's")
		})))
		routes := newTable(map[string]auth.Access{"open": {Allow: auth.Everyone}})
		conn := newRig(t, w, &funcs{}, append(opts, WithProxy(routes))...).dial()
		_, err := invoke(t.Context(), conn, "/open/M")
		wantCode(t, err, codes.OK)
		_, err = invoke(as(t.Context(), "user.alice"), conn, "/none/M")
		wantCode(t, err, codes.Unimplemented)
		wantEqual(t, "served", routes.takes(), "open nobody")
		wantEqual(t, "ran", ran, 0)

		conn = newRig(t, w, &funcs{}, opts...).dial()
		_, err = invoke(t.Context(), conn, "/none/M")
		wantCode(t, err, codes.Unauthenticated)
		_, err = invoke(as(t.Context(), "user.alice"), conn, "/none/M")
		wantCode(t, err, codes.DataLoss)
		wantEqual(t, "control: ran without a proxy", ran, 1)
	})
}

// A path that the server has a method or a handler for is never a route's, however it
// is asked for: the rule of the route may be the weaker.
func TestPathsOfTheServersOwn(t *testing.T) {
	own := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Own", "yes") }
	eachWayIn(t, func(t *testing.T, w way, opts ...ServerOption) {
		routes := newTable(map[string]auth.Access{"*": {Allow: auth.Everyone}})
		r := newRig(t, w, &funcs{}, append(opts, WithAuthenticator(byWord), WithProxy(routes),
			WithHTTP("GET /admin/{x}", http.HandlerFunc(own), auth.Access{Groups: []string{"staff"}}),
			WithHTTP("PUT  shop.example/stock", http.HandlerFunc(own), auth.Access{Groups: []string{"staff"}}))...)
		const token = "user.alice"
		method := "/" + unaryMethod
		for _, test := range []struct {
			verb, host, path, kind, token string
			want                          int
		}{
			{"POST", "localhost", method, "application/json", token, 415},
			{"POST", "localhost", method, "", token, 415},
			{"GET", "localhost", method, "", token, 405},
			{"POST", "localhost", method, "application/json", "", 401},
			{"POST", "localhost", method + "?x", "application/json", token, 404},
			{"POST", "localhost", strings.Replace(method, "U", "%55", 1), "application/json", token, 404},
			{"POST", "localhost", "/grpc.health.v1.Health/Check", "application/json", token, 415},

			{"GET", "localhost", "/admin/x", "", token, 403},
			{"POST", "localhost", "/admin/x", "", token, 405},
			{"DELETE", "localhost", "/admin/x", "", "", 401},
			{"OPTIONS", "localhost", "/admin/x", "", token, 405},
			{"BREW", "localhost", "/admin/x", "", token, 405},
			{"POST", "shop.example", "/stock", "", token, 405},

			{"POST", "localhost", "/admin/x/y", "", "", 200},
			{"POST", "localhost", "/administration", "", "", 200},
			{"POST", "localhost", "/stock", "", "", 200},
			{"POST", "localhost", "/" + testServiceName + "/None", "application/json", "", 200},
		} {
			name := strings.Join([]string{test.verb, test.host, test.path, test.kind, test.token}, " ")
			scheme := map[bool]string{false: "http", true: "https"}[w.viaH2]
			req, err := http.NewRequest(test.verb, scheme+"://localhost"+test.path, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = test.host
			req.Header.Set("Content-Type", test.kind)
			if test.token != "" {
				req.Header.Set(auth.UserHeader, "Bearer "+test.token)
			}
			resp, err := r.httpClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			wantEqual(t, name, resp.StatusCode, test.want)
			wantEqual(t, name+": served by the route", routes.takes() != "", test.want == 200)
		}
	})
}
