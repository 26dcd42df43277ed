package status

import "time"

// The JSON forms of the pages. Each answer has the field "version": 1 besides;
// fields may be added under the same version, and are never renamed.
type (
	// HelpData is /internal/help.
	HelpData struct {
		Name     string        `json:"name"`
		State    string        `json:"state,omitempty"` // as in HealthData
		Pages    []PageData    `json:"pages"`
		Services []ServiceData `json:"services"`
		Identity *IdentityData `json:"identity,omitempty"`
	}
	// IdentityData is how callers are authenticated, in [HelpData].
	IdentityData struct {
		Callers   string       `json:"callers"`
		Operators string       `json:"operators"`
		Sources   []SourceData `json:"sources"`
	}
	// SourceData is something that identity rests on, such as a file of keys,
	// in [IdentityData].
	SourceData struct {
		Name    string     `json:"name"`
		Where   string     `json:"where"` // files or a URL
		What    string     `json:"what"`  // is in force
		Since   *time.Time `json:"since,omitempty"`
		Expires *time.Time `json:"expires,omitempty"`
		Error   string     `json:"error,omitempty"` // why what is there now is not in force
	}
	// PageData is a page in [HelpData].
	PageData struct {
		Path    string   `json:"path"`
		Methods []string `json:"methods"` // GET, POST; HEAD goes with GET
		Group   string   `json:"group"`
		Title   string   `json:"title"`
		Help    string   `json:"help"`
		Access  string   `json:"access"` // everyone, operator or metrics
	}
	// ServiceData is a gRPC service in [HelpData].
	ServiceData struct {
		Name    string   `json:"name"`
		Methods []string `json:"methods"`
	}

	// HealthData is /internal/health.
	HealthData struct {
		State  string      `json:"state"` // STARTING, READY, NOT_READY or STOPPING
		Checks []CheckData `json:"checks"`
	}
	// CheckData is a readiness check in [HealthData]. Everybody may see it,
	// so it does not say why a check fails.
	CheckData struct {
		Name string `json:"name"`
		OK   bool   `json:"ok"`
	}

	// NameData is /internal/service-info/name.
	NameData struct {
		Services []string `json:"services"`
	}

	// VersionData is /internal/service-info/version. What the build does not
	// know is empty.
	VersionData struct {
		Module         string    `json:"module"`
		BuildVersion   string    `json:"build_version"`
		RuntimeVersion string    `json:"runtime_version"`
		Revision       string    `json:"revision"`
		RevisionTime   string    `json:"revision_time"` // RFC 3339
		Modified       bool      `json:"modified"`      // the revision had local changes
		GoVersion      string    `json:"go_version"`
		Platform       string    `json:"platform"` // GOOS/GOARCH
		Started        time.Time `json:"started"`
		UptimeSeconds  int64     `json:"uptime_seconds"`
		Instance       string    `json:"instance"`
	}

	// APIData is /internal/service-info/api.
	APIData struct {
		Services []Service `json:"services"`
	}

	// StateData is what /internal/pleaseshutdown answers.
	StateData struct {
		State string `json:"state"` // as in HealthData
	}

	// DebugData is /internal/debug/info.
	DebugData struct {
		Goroutines  int         `json:"goroutines"`
		CPUs        int         `json:"cpus"`
		MaxProcs    int         `json:"gomaxprocs"`
		HeapBytes   uint64      `json:"heap_bytes"`   // in use
		SystemBytes uint64      `json:"system_bytes"` // from the system
		GCCycles    uint32      `json:"gc_cycles"`
		MemoryLimit int64       `json:"memory_limit_bytes"` // GOMEMLIMIT
		Pages       []DebugPage `json:"pages"`
	}
	// DebugPage is a profile or dump in [DebugData].
	DebugPage struct {
		Path string `json:"path"`
		Help string `json:"help"`
	}

	// ErrorData is what every page answers in place of its data when the
	// HTTP status is 400 or more.
	ErrorData struct {
		Error string `json:"error"`
	}
	// TextsData is /internal/service-info/infoproviders.
	TextsData struct {
		Texts []NamedText `json:"texts"`
	}
	// NamedText is a text of the program's own in [TextsData].
	NamedText struct {
		Name string `json:"name"`
		Text string `json:"text"`
	}
)
