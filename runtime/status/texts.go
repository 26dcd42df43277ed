package status

import (
	"strconv"
	"strings"
)

// HandleTexts registers /internal/service-info/infoproviders, which shows what
// texts gives. texts may be called concurrently.
func (p *Pages) HandleTexts(texts func() []NamedText) error {
	return p.Handle(Page{
		Path: "/internal/service-info/infoproviders", Group: "This server", Title: "Info texts", Access: Operator,
		Help: "Texts that the program itself gives.",
		Get:  func(*Request) (View, error) { return textsView(texts()), nil },
	})
}

func textsView(texts []NamedText) View {
	v := View{Data: TextsData{append([]NamedText{}, texts...)}}
	for i, t := range texts {
		v.Body = append(v.Body, Section{ID: "text-" + strconv.Itoa(i), Title: t.Name, Body: []Block{Code(strings.TrimSpace(t.Text))}})
	}
	if len(texts) == 0 {
		v.Body = []Block{Text("The program gives no texts: it does so by easyops.WithInfo.")}
	}
	return v
}
