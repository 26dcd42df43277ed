//go:build real

package browser

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestForm changes a flag by the form of the page, with JavaScript and without,
// in a browser: what the guards think of forms from other sites must not stop
// those of our own.
func TestForm(t *testing.T) {
	s, tab := newSite(t), open(t)
	const name = "easyops.log-level"
	for _, test := range []struct {
		noScript bool
		value    string
	}{{false, "debug"}, {true, "warn"}} {
		t.Run(fmt.Sprintf("without JavaScript %t", test.noScript), func(t *testing.T) {
			look := Look{Width: PhoneWidth, Height: PhoneHeight, NoScript: test.noScript}
			if status, err := tab.Open(s.base+"/internal/parameters?name="+name, look); err != nil || status != 200 {
				t.Fatal(status, err)
			}
			fill := fmt.Sprintf(`(() => {
				const field = document.querySelector('main form[method=post] [name="%s"]');
				if (!field) return "there is no field";
				field.value = "%s";
				field.form.querySelector('button').click();
				return field.value;
			})()`, name, test.value)
			if got := evaluate(t, tab, fill); got != test.value {
				t.Fatalf("the field has %q", got)
			}
			for deadline := time.Now().Add(10 * time.Second); s.parameter(t, name) != test.value; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("the flag is %q: %s", s.parameter(t, name), evaluate(t, tab, "document.body.innerText"))
				}
			}
			for evaluate(t, tab, `document.readyState + !!document.querySelector("footer")`) != "completetrue" {
				time.Sleep(10 * time.Millisecond)
			}
			got, err := chromedp.Run(tab, chromedp.Evaluate[seen](inspect))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range got.Faults {
				t.Errorf("the answer: %s", f)
			}
			for _, c := range tab.Complaints() {
				t.Errorf("the browser says: %s", c)
			}
		})
	}
}

// parameter is the value of a flag, as the page has it in JSON.
func (s *site) parameter(t *testing.T, name string) string {
	t.Helper()
	code, body, err := s.get("/internal/parameters?name="+name, "application/json")
	if err != nil || code != 200 {
		t.Fatalf("%d %v: %s", code, err, body)
	}
	var d struct {
		Parameters []struct{ Value string }
	}
	if decode(t, body, &d); len(d.Parameters) != 1 {
		t.Fatalf("%s", body)
	}
	return d.Parameters[0].Value
}
