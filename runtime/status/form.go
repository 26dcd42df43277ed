package status

type (
	// Form is a form with fields whose button sends them to a page of this
	// server. In text it is left out: what it does can be done by a command.
	Form struct {
		Path string
		// Get says that the fields are sent as the query of a GET, such as to
		// filter a list, and not as the body of a POST.
		Get bool
		// Label is what the button says.
		Label string
		// Help says what the form does; it is shown above it.
		Help   string
		Inputs []Input
		// Mild says that it takes nothing away, and so is not red.
		Mild bool
	}
	// Input is a field of a [Form]: a line of text, or one of a few choices.
	Input struct {
		Name string // in the query or body
		// Label says what to enter. Hint says more, below the field.
		Label, Hint string
		// Value is what stands there first. Characters that steer the reader
		// are spelled out, and sent so.
		Value string
		// Choices make it a choice among these, the empty value too where it is
		// one of them.
		Choices []Choice
		// Hidden sends the value and shows nothing.
		Hidden bool
		// Required says that the browser is not to send the form without it.
		Required bool
	}
	// Choice is what an [Input] can be.
	Choice struct{ Value, Label string }
)

func (Form) block() {}

// choices are values that are shown as they are.
func choices(values ...string) []Choice {
	all := make([]Choice, len(values))
	for i, v := range values {
		all[i] = Choice{v, v}
	}
	return all
}
