package status

import "time"

// The JSON forms of the pages that show how a server does now. See data.go.
type (
	// OverviewData is /internal/.
	OverviewData struct {
		Name          string          `json:"name"`
		Instance      string          `json:"instance"`
		Now           time.Time       `json:"now"` // by the server's clock
		Build         VersionData     `json:"build"`
		Health        HealthData      `json:"health"`
		Problems      []Problem       `json:"problems"` // what is wrong now, the worst first
		Registry      *RegistryData   `json:"registry,omitempty"`
		Process       ProcessData     `json:"process"`
		Traffic       []TrafficData   `json:"traffic"` // of the last minute, 5 minutes and hour, in this order
		Judged        []CallCounts    `json:"judged"`  // as traffic, without the services that every server has: those of grpc.*
		InFlight      int64           `json:"calls_in_flight"`
		Running       []RunningCalls  `json:"running_calls"` // those in flight by method, the oldest first
		Connections   int             `json:"connections"`   // open on the port
		History       []HistoryData   `json:"history"`       // fine, then coarse
		RecentErrors  []RecentError   `json:"recent_errors"`
		RecentActions []RecentAction  `json:"recent_actions"`
		Methods       []MethodTraffic `json:"methods"` // those with calls in the last 5 minutes, busiest first
		Clients       []Outbound      `json:"-"`       // whose problems are among Problems; they have a page of their own
	}
	// Problem is something that an operator should know of first.
	Problem struct {
		Level string `json:"level"` // bad, or warn for what is to be looked at
		What  string `json:"what"`
		Why   string `json:"why"`
		Link  string `json:"link"` // the page, or the part of this one, that says more
	}
	// RunningCalls are the calls of one method that are in flight.
	RunningCalls struct {
		Method string  `json:"method"`
		Stream bool    `json:"stream"` // they may last
		Calls  int64   `json:"calls"`
		Oldest Seconds `json:"oldest_seconds"`
		// Ignoring are those of the calls that have ended more than 10 s ago,
		// though their handlers go on; IgnoringFor is since when the first has.
		Ignoring    int64   `json:"ignoring_context"`
		IgnoringFor Seconds `json:"ignoring_context_seconds"`
	}
	// CallCounts is how many calls ended in a stretch of time that ends now.
	CallCounts struct {
		Window Seconds `json:"window_seconds"`
		Calls  uint64  `json:"calls"`
		Errors uint64  `json:"errors"` // as in [TrafficData]
		Faults uint64  `json:"faults"`
	}
	// ProcessData is the process in a few figures.
	ProcessData struct {
		Goroutines  int     `json:"goroutines"`
		HeapBytes   uint64  `json:"heap_bytes"`   // live and not yet collected
		SystemBytes uint64  `json:"system_bytes"` // from the system
		GCCycles    uint64  `json:"gc_cycles"`
		GCPause     Seconds `json:"gc_pause_seconds"` // the longest of late
		MaxProcs    int     `json:"gomaxprocs"`
	}
	// TrafficData is what calls were like in a stretch of time that ends now.
	TrafficData struct {
		Window  Seconds `json:"window_seconds"` // shorter where the server is younger
		Calls   uint64  `json:"calls"`          // that ended
		Rate    float64 `json:"calls_per_second"`
		Errors  uint64  `json:"errors"` // of the calls, those that ended with another code than OK
		Faults  uint64  `json:"faults"` // of the errors, those that are the server's: UNKNOWN, INTERNAL, DATA_LOSS, UNIMPLEMENTED of registered methods, UNAVAILABLE, DEADLINE_EXCEEDED
		P50     Seconds `json:"p50_seconds"`
		P99     Seconds `json:"p99_seconds"`
		Average Seconds `json:"average_seconds"`
	}
	// MethodTraffic is one method in [OverviewData] and in [Method].
	MethodTraffic struct {
		Method string `json:"method"` // "echo.v1.EchoService/Echo"
		TrafficData
		LastMinute CallCounts `json:"last_minute"`
	}
	// HistoryData is a line of points at equal distances, the oldest first.
	HistoryData struct {
		Step   Seconds        `json:"step_seconds"` // from point to point
		End    time.Time      `json:"end"`          // of the last point
		Points []HistoryPoint `json:"points"`
	}
	// HistoryPoint is one step in [HistoryData].
	HistoryPoint struct {
		Calls      uint64  `json:"calls"`
		Errors     uint64  `json:"errors"`
		P50        Seconds `json:"p50_seconds"`
		P99        Seconds `json:"p99_seconds"`
		InFlight   int64   `json:"calls_in_flight"` // at its end
		Goroutines int     `json:"goroutines"`      // at its end
		HeapBytes  uint64  `json:"heap_bytes"`      // at its end
	}
	// RecentError is calls of one method that failed in the same way. Neither
	// requests nor answers are kept. Who called is that of the last one.
	RecentError struct {
		Time    time.Time `json:"time"`  // of the last one
		Count   uint64    `json:"count"` // of a flood some are not counted here
		Fault   bool      `json:"fault"` // it counts as one of [TrafficData]'s Faults
		Method  string    `json:"method"`
		Code    string    `json:"code"`
		User    string    `json:"user,omitempty"`
		Service string    `json:"service,omitempty"` // that called
		Peer    string    `json:"peer"`
		Error   string    `json:"error"`
	}
	// RecentAction is a changing request to a page, allowed or refused.
	RecentAction struct {
		Time    time.Time `json:"time"`
		Who     string    `json:"who"`
		Peer    string    `json:"peer"`
		Path    string    `json:"path"`
		What    string    `json:"what,omitempty"`
		Old     string    `json:"old,omitempty"`
		New     string    `json:"new,omitempty"`
		Reason  string    `json:"reason,omitempty"`
		Outcome string    `json:"outcome"`         // done, refused or failed
		Error   string    `json:"error,omitempty"` // why it was refused or failed
	}

	// Listed says what part of a long list a page holds. The query asks for
	// another: ?filter=, ?sort=, ?limit= and ?offset=.
	Listed struct {
		Total   int    `json:"total"`
		Matched int    `json:"matched"` // by the filter
		Offset  int    `json:"offset"`  // of the first that is shown, among those that matched
		Sort    string `json:"sort"`    // a column, with "-" before it the greatest first
		Filter  string `json:"filter,omitempty"`
	}

	// CallersData is /internal/service-info/grpc-callers.
	CallersData struct {
		Listed
		Callers []Caller `json:"callers"`
		// Unlisted is how many calls are of callers that have no row, or have
		// lost theirs after 10 minutes without a call; they are counted in the
		// rows of kind other.
		Unlisted uint64 `json:"unlisted_calls"`
	}
	// Caller is who called one method, in [CallersData].
	Caller struct {
		Method string            `json:"method"`
		Kind   string            `json:"kind"`         // service, user, nobody (without identity) or other (all for whom there was no room)
		Caller string            `json:"caller"`       // the ID of the service, else of the user
		Calls  uint64            `json:"calls"`        // that ended
		Errors map[string]uint64 `json:"errors"`       // by code, such as "NOT_FOUND"
		Failed uint64            `json:"errors_total"` // all of them
		Last   time.Time         `json:"last"`         // end of the last call
		P50    Seconds           `json:"p50_seconds"`
		P99    Seconds           `json:"p99_seconds"`
	}

	// Inbound is a connection to this server's port, in [ConnectionsData].
	Inbound struct {
		Peer     string    `json:"peer"`
		Protocol string    `json:"protocol"`          // gRPC, HTTP/1, HTTP/2, new (nothing is known yet), or TCP and the service
		User     string    `json:"user,omitempty"`    // of the last call
		Service  string    `json:"service,omitempty"` // of the last call that was not of nobody; before it, whom the certificate is of
		TLS      string    `json:"tls,omitempty"`     // its version, such as "TLS 1.3"; empty without TLS
		Since    time.Time `json:"since"`
		InFlight int64     `json:"calls_in_flight"`
		Calls    uint64    `json:"calls"`          // that have begun
		Received uint64    `json:"received_bytes"` // on the wire, with those of TLS
		Sent     uint64    `json:"sent_bytes"`
	}

	// ParametersData is /internal/parameters.
	ParametersData struct {
		Listed
		Parameters []Parameter       `json:"parameters"`
		History    []ParameterChange `json:"history"` // the latest first
		// Changed is what a POST changed, or with ?dry_run would change.
		Changed []ParameterChange `json:"changed,omitempty"`
		DryRun  bool              `json:"dry_run,omitempty"`
		// Warning says which function that a POST had called has panicked or not
		// returned. What it changed is changed.
		Warning string `json:"warning,omitempty"`
		// Stuck names the flag whose function has not returned for 5 s, and after it
		// those whose functions wait for it.
		Stuck []string `json:"stuck,omitempty"`
	}
	// Parameter is a flag. Values of secret ones are "REDACTED".
	Parameter struct {
		Name    string   `json:"name"`
		Value   string   `json:"value"`
		Default string   `json:"default"`
		Usage   string   `json:"usage"`
		Type    string   `json:"type"`             // such as bool, int, duration, enum
		Values  []string `json:"values,omitempty"` // of an enum
		Dynamic bool     `json:"dynamic"`          // may be changed while the server runs
		Secret  bool     `json:"secret,omitempty"`
		Source  string   `json:"source"` // default, flag, environment, option or operator
		// Reverts is when the value goes back to what it was.
		Reverts time.Time `json:"reverts,omitzero"`
		// RevertsTo is that former value.
		RevertsTo string `json:"reverts_to,omitempty"`
	}
	// ParameterChange is a change of a flag. Values of secret ones are "REDACTED".
	ParameterChange struct {
		Time    time.Time `json:"time"`
		Name    string    `json:"name"`
		Old     string    `json:"old"`
		New     string    `json:"new"`
		Who     string    `json:"who"` // "revert" where a time to live has ended
		Reason  string    `json:"reason,omitempty"`
		Reverts time.Time `json:"reverts,omitzero"`
		// Superseded says that it did not go back, or will not: a later change has
		// decided.
		Superseded bool `json:"superseded,omitempty"`
	}

	// CachesData is /internal/clearcache and /internal/clearcache/NAME.
	CachesData struct {
		Listed
		Caches []Cache `json:"caches"`
		// Cleared names what a POST cleared.
		Cleared []string `json:"cleared,omitempty"`
	}
	// Cache is a named cache. Of caches of other libraries only the name and
	// the last clearing are known.
	Cache struct {
		Name      string    `json:"name"`
		Counted   bool      `json:"counted"` // the figures below are known
		Entries   int       `json:"entries"`
		Max       int       `json:"max_entries"` // 0 where there is no bound by number
		TTL       Seconds   `json:"ttl_seconds"` // 0 where entries stay
		Hits      uint64    `json:"hits"`
		Misses    uint64    `json:"misses"`
		Evictions uint64    `json:"evictions"`
		ClearedAt time.Time `json:"cleared_at,omitzero"`
		ClearedBy string    `json:"cleared_by,omitempty"`
	}
)
