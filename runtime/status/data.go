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
		Registry *RegistryData `json:"registry,omitempty"`
		Identity *IdentityData `json:"identity,omitempty"`
	}
	// RegistryData is what a registry has of the server, in [HelpData]; it is
	// what /internal/unregister answers, too.
	RegistryData struct {
		Registry   string     `json:"registry"`              // which one
		State      string     `json:"state"`                 // unregistered, registered or lost
		TakenOut   bool       `json:"taken_out"`             // by an operator
		LastAnswer *time.Time `json:"last_answer,omitempty"` // of the registry, to anything
		ListedAs   *EntryData `json:"listed_as,omitempty"`   // or to be, once the state is registered
		Error      string     `json:"error,omitempty"`       // why the state is not what it should be
		Unlisted   string     `json:"unlisted,omitempty"`    // why no registry is to list the server
	}
	// EntryData is what a registry lists of the server, in [RegistryData]. There
	// is one of each service, which differ in its name, and those of TCP services
	// in their address; this is the first.
	EntryData struct {
		ID         string            `json:"id"`
		Addr       string            `json:"addr,omitempty"`        // left out until it is known
		StatusAddr string            `json:"status_addr,omitempty"` // where it is another
		Owner      string            `json:"owner,omitempty"`
		Tags       map[string]string `json:"tags,omitempty"`
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
		State    string      `json:"state"`               // STARTING, READY, NOT_READY or STOPPING
		TakenOut bool        `json:"taken_out,omitempty"` // of the registry, by an operator
		Checks   []CheckData `json:"checks"`
	}
	// CheckData is a readiness check in [HealthData]. Everybody may see it,
	// so it does not say why a check fails.
	CheckData struct {
		Name  string `json:"name"`
		OK    bool   `json:"ok"`
		Error string `json:"error,omitempty"` // why not; in [OverviewData] only
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

	// APIData is /internal/service-info/api. The queries service= and method=
	// ask for these alone.
	APIData struct {
		// Listed is set where there is too much to describe at once. Methods
		// are then named, and the queries service= and method= ask for more.
		*Listed
		Services []Service `json:"services"`
	}

	// StateData is what /internal/pleaseshutdown answers.
	StateData struct {
		State string `json:"state"` // as in HealthData
	}

	// ConnectionsData is /internal/service-info/grpc-connections.
	ConnectionsData struct {
		Outbound []Outbound `json:"outbound"`
		// Inbound are connections to the port and to those of TCP services, 10,000
		// of each that are oldest at most. Listed says which of them are here;
		// InboundOpen is how many are open.
		Inbound       []Inbound `json:"inbound"`
		InboundListed Listed    `json:"inbound_listed"`
		InboundOpen   int       `json:"inbound_open"`
		// TCP are the TCP services of this server.
		TCP []TCPService `json:"tcp_services,omitempty"`
	}
	// TCPService is a service with a port of its own, in [ConnectionsData].
	TCPService struct {
		Service  string `json:"service"`
		Addr     string `json:"addr"` // that it listens on
		TLS      bool   `json:"tls"`
		Open     int    `json:"open"`           // connections
		Accepted uint64 `json:"accepted"`       // since the start
		Refused  uint64 `json:"refused"`        // before the handler had them
		Received uint64 `json:"received_bytes"` // on the wire, with those of TLS
		Sent     uint64 `json:"sent_bytes"`
	}
	// Outbound is an open client of this process, in [ConnectionsData]. Clients
	// that share their connections are one.
	Outbound struct {
		Service    string             `json:"service"`
		Source     string             `json:"source"`               // the registry, or "target" and the target
		ByTarget   bool               `json:"by_target,omitempty"`  // no registry is asked
		State      string             `json:"state"`                // as of gRPC: IDLE, CONNECTING, READY, TRANSIENT_FAILURE, SHUTDOWN
		Listed     int                `json:"listed"`               // instances that the registry lists
		ListedAt   time.Time          `json:"listed_at,omitzero"`   // when it last said so
		LastAnswer time.Time          `json:"last_answer,omitzero"` // of the registry, to anything
		Error      string             `json:"error,omitempty"`      // of the registry, now
		Instances  []OutboundInstance `json:"instances"`            // that the client connects to
	}
	// OutboundInstance is an instance that a client connects to, in [Outbound].
	// With a target only the address is known of what a registry would tell.
	OutboundInstance struct {
		ID        string            `json:"id"`
		Addr      string            `json:"addr"`
		Version   string            `json:"version,omitempty"`
		Tags      map[string]string `json:"tags,omitempty"`
		Owner     string            `json:"owner,omitempty"`
		Class     string            `json:"class"`                // which calls it is for: "plain", "owner alice" or "tags a=b,c=d"
		Health    string            `json:"health"`               // as the registry has it
		State     string            `json:"state"`                // of the connection, as in Outbound
		Since     time.Time         `json:"since,omitzero"`       // of State
		LastError string            `json:"last_error,omitempty"` // of the connection, which may be repaired
		InFlight  int               `json:"in_flight"`
		Calls     uint64            `json:"calls"`           // that have ended; each attempt is one
		Failures  uint64            `json:"failures"`        // of these, as far as they are the instance's
		Latency   Seconds           `json:"latency_seconds"` // a moving average; 0 before the first call
		Ejections uint64            `json:"ejections"`       // how often calls were kept away, as too many had failed
		// EjectedUntil is set while calls are kept away. Once it has passed the
		// instance is on trial: few calls go there.
		EjectedUntil time.Time `json:"ejected_until,omitzero"`
	}

	// DependenciesData is /internal/service-info/dependencies.
	DependenciesData struct {
		Dependencies []Dependency `json:"dependencies"`
	}
	// Dependency is a service that the program has a client for.
	Dependency struct {
		Service string `json:"service"`
		Linked  bool   `json:"linked"`          // its descriptor is in the binary
		Clients int    `json:"clients"`         // that are open; 0 where it is not dialled
		State   string `json:"state,omitempty"` // of the client that is worst off
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
