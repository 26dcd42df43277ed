package status

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Info is what does not change during a server's life.
type Info struct {
	// Services are the names of the services, in the order of their
	// registration.
	Services []string
	// Instance is the ID under which the instance is registered.
	Instance string
	// RuntimeVersion is the version of easyops.
	RuntimeVersion string
	// Started is when the server started.
	Started time.Time
}

// HandleInfo registers /internal/service-info/name and
// /internal/service-info/version.
func (p *Pages) HandleInfo(info Info) error {
	build := readBuild()
	p.info.Store(&info)
	return p.handleAll([]Page{{
		Path: "/internal/service-info/name", Group: "This server", Title: "Services", Access: Operator,
		Help: "The names of the services that are served here, one a line.",
		Get:  func(*Request) (View, error) { return info.names(), nil },
	}, {
		Path: "/internal/service-info/version", Group: "This server", Title: "Version", Access: Operator,
		Help: "Build and runtime version, revision, Go version, start time and instance ID.",
		Get:  func(*Request) (View, error) { return info.version(build, time.Now()), nil },
	}})
}

func (i Info) names() View {
	t := Table{Columns: []string{"Service"}, Empty: "No services are served here."}
	for _, s := range i.Services {
		t.Rows = append(t.Rows, []Cell{{Text: s, Tone: Mono, Link: apiPath + "#" + s}})
	}
	return View{
		Data: NameData{append([]string{}, i.Services...)}, Body: []Block{t},
		Plain: strings.Join(i.Services, "\n"),
	}
}

func (i Info) version(d VersionData, now time.Time) View {
	d = i.data(d, now)
	return View{Data: d, Body: []Block{d.pairs()}}
}

// data adds what is known of the instance to what is known of the build.
func (i Info) data(d VersionData, now time.Time) VersionData {
	d.RuntimeVersion, d.Started, d.Instance = i.RuntimeVersion, i.Started.UTC(), i.Instance
	d.UptimeSeconds = int64(now.Sub(i.Started) / time.Second)
	return d
}

func (d VersionData) pairs() KV {
	revision := d.Revision
	if d.Modified {
		revision += " with local changes"
	}
	return KV{
		{"Module", Name(d.Module)},
		{"Build version", Name(d.BuildVersion)},
		{"Revision", Name(cmp.Or(revision, "unknown"))},
		{"Revision time", Str(cmp.Or(d.RevisionTime, "unknown"))},
		{"Runtime version", Name(d.RuntimeVersion)},
		{"Go version", Name(d.GoVersion + " " + d.Platform)},
		{"Started", Str(d.Started.Format(time.RFC3339))},
		{"Up for", Str(lasting(time.Duration(d.UptimeSeconds) * time.Second))},
		{"Instance", Name(d.Instance)},
	}
}

// readBuild is what the linker wrote into the binary.
func readBuild() VersionData {
	d := VersionData{GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return d
	}
	d.Module, d.BuildVersion = b.Main.Path, b.Main.Version
	for _, s := range b.Settings {
		switch s.Key {
		case "vcs.revision":
			d.Revision = s.Value
		case "vcs.time":
			d.RevisionTime = s.Value
		case "vcs.modified":
			d.Modified = s.Value == "true"
		}
	}
	return d
}
