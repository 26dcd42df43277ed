package status

// View is what a page shows. It is built once for a request and rendered in
// the form that was asked for. The framework renders it; it must not change
// afterwards.
type View struct {
	// Status is the HTTP status code; 0 means 200.
	Status int
	// Title replaces the page's own title where it is not empty.
	Title string
	// Data is what the JSON form consists of: a struct or a map that
	// marshals to an object, in snake_case. The framework adds "version": 1;
	// Data must not have a field of that name. Nil means no further fields.
	Data any
	// Body is what the HTML form shows, and the text form too where Plain is
	// empty.
	Body []Block
	// Plain is the text form for pages that are piped into other programs.
	Plain string
	// Live says that the page shows what changes by itself: a browser that
	// runs scripts brings it up to date every few seconds.
	Live bool
	// Whole says that the page takes the whole width, without a table of
	// contents.
	Whole bool
}

// Block is a part of a page: [KV], [Table], [Section], [Text], [Code],
// [Action], [Form], [Links], [Chart], [Tiles] or [Beside].
type Block interface{ block() }

type (
	// KV is a list of names with values.
	KV []Pair
	// Pair is one name with its value.
	Pair struct {
		Name  string
		Value Cell
	}
	// Table is a table. Rows that are shorter than Columns are filled up.
	Table struct {
		// Caption says what the table holds; it is shown above it.
		Caption string
		Columns []string
		// Heads are what the heads of the columns lead to, in their order.
		// There may be fewer, or none.
		Heads []Head
		Rows  [][]Cell
		// Wide is the number of the column, from 1, that takes the room
		// that the others leave. 0 leaves it to the browser.
		Wide int
		// Wraps says that the other columns have long texts, too: these wrap,
		// and after some lines they are cut off in a browser.
		Wraps bool
		// Empty is shown in place of a table without rows.
		Empty string
	}
	// Section is a part of a page under a heading. Sections may be nested
	// twice.
	Section struct {
		// ID is the fragment that links to the section. A page with
		// several sections that have one gets a table of contents.
		ID    string
		Title string
		// Unlisted keeps it out of that.
		Unlisted bool
		// Mono shows the title as code, for names.
		Mono bool
		// Badges stand beside the title.
		Badges []Cell
		Body   []Block
	}
	// Text is a paragraph. Empty lines separate paragraphs.
	Text string
	// Code is a command to copy, or other text whose layout matters.
	Code string
	// Action is a button that sends a POST to a page of this server.
	Action struct {
		Path  string
		Label string
		// Help says what the button does; it is shown above it.
		Help string
		// Mild says that it takes nothing away, and so is not red.
		Mild bool
	}
	// Head is where the head of a column leads.
	Head struct {
		// Link is a path of this server, such as of the same page sorted by
		// the column.
		Link string
		// Sorted is "ascending" or "descending" where the rows are sorted by
		// the column.
		Sorted string
	}
	// Tiles are few figures that are to be seen first.
	Tiles []Tile
	// Tile is one of them.
	Tile struct {
		Name  string
		Value Cell
		// Note is what else is to be known, in a few words.
		Note string
	}
	// Links are a sentence and where it leads.
	Links struct {
		Text  string
		Links []Cell
	}
	// Beside are blocks that stand beside each other where there is room.
	Beside []Block
)

func (KV) block()      {}
func (Table) block()   {}
func (Section) block() {}
func (Text) block()    {}
func (Code) block()    {}
func (Action) block()  {}
func (Tiles) block()   {}
func (Beside) block()  {}
func (Links) block()   {}

// Tone is how a cell looks.
type Tone int

// The tones of a cell. In text all look the same.
const (
	Normal Tone = iota
	Mono        // code: names, addresses, paths
	Muted       // of little weight
	Good
	Warn
	Bad
	Neutral // a badge that is neither good nor bad
)

// Cell is a piece of text in a table, a pair or a badge.
type Cell struct {
	Text string
	// Link is a path or a fragment of this server's pages; others are shown
	// without a link.
	Link string
	Tone Tone
}

// Str is a cell of plain text.
func Str(s string) Cell { return Cell{Text: s} }

// Name is a cell that shows a name as code.
func Name(s string) Cell { return Cell{Text: s, Tone: Mono} }

// Link is a cell that links a path of this server.
func Link(path, text string) Cell { return Cell{Text: text, Link: path} }
