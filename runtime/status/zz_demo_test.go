package status

import ("testing";"net/http";"os";"context";"time";"errors";"log/slog";"github.com/go-easyops/easyops/runtime/metrics")

func TestDemo(t *testing.T) {
	addr := os.Getenv("DEMO")
	if addr == "" { t.Skip() }
	p, err := New(Config{Name: "echo.v1.EchoService", Operator: LocalOperator(), Logger: slog.Default()})
	m, _ := metrics.New(nil)
	svcs := echoServices(t)
	err = errors.Join(err, p.HandleAPI(func() []Service { return svcs }),
	p.HandleHealth(func(context.Context) Health { return Health{State: "READY", Checks: []Check{{Name:"database"},{Name:"cache", Err: errors.New("x")}}} }),
	p.HandleInfo(Info{Services: []string{"echo.v1.EchoService"}, Instance: "echo-7f3a", RuntimeVersion: "v0.1.0", Started: time.Now()}),
	p.HandleMetrics(m.Registry()), p.HandleShutdown(func(string){}), p.HandleDebug(false))
	if err != nil { t.Fatal(err) }
	t.Log(http.ListenAndServe(addr, p.Handler()))
}
