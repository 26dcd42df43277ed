package edge

import (
	"net/http"
	"strings"
	"testing"

	echov1 "github.com/go-easyops/easyops/example/gen/echo/v1"
	"github.com/go-easyops/easyops/runtime/easyops"
)

// TestWhoAnswered: the access log tells what an instance answered, and which, from what
// the edge answered itself.
func TestWhoAnswered(t *testing.T) {
	p := newPlace(t)
	behind := p.behind([]easyops.Service{echov1.BindEchoServiceServer(echoServer{})},
		easyops.WithHTTPService("page", "/", http.NotFoundHandler(), everyone))
	e := p.edge("http:\n- {service: page, allow: EVERYONE}\n- {service: page, path: /mine/}\n" +
		"grpc:\n- {service: echo.v1.EchoService, allow: EVERYONE}\n- {service: none.v1.Service, allow: EVERYONE, connect_timeout: 100ms}\n")
	for _, path := range []string{"/theirs", "/mine/"} {
		get(t, browser(t), "http://"+e.Addr().String()+path)
	}
	cc := connect(t, e.Addr())
	for _, method := range []string{"/echo.v1.EchoService/Echo", "/none.v1.Service/Call"} {
		if err := cc.Invoke(t.Context(), method, &echov1.EchoRequest{}, &echov1.EchoResponse{}); err == nil {
			t.Errorf("%s: it is answered", method) // the service wants to know who calls
		}
	}
	for path, by := range map[string]bool{"path=/theirs ": true, "path=/mine/ ": false, "path=/echo.v1.EchoService/Echo ": true, "path=/none.v1.Service/Call ": false} {
		var line string
		await(t, path, func() bool {
			for l := range strings.Lines(p.log.text()) {
				if strings.Contains(l, "msg=call") && strings.Contains(l, path) {
					line = l
				}
			}
			return line != ""
		})
		if strings.Contains(line, "instance="+behind.Addr().String()) != by || strings.Contains(line, "instance=") != by {
			t.Error(line)
		}
	}
}
