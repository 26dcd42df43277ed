package etcd

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/go-easyops/easyops/runtime/registry"
)

// entryVersion is that of the metadata.
const entryVersion = 1

// update is a value, as etcd's own naming package writes and reads them. Op is
// 0 for what is there.
type update struct {
	Op       int
	Addr     string
	Metadata any
}

// details is our metadata. All of it is always written, so that people see
// what there is.
type details struct {
	V          int               `json:"v"`
	ID         string            `json:"id"`
	Kinds      []registry.Kind   `json:"kinds"`
	Health     registry.Health   `json:"health"`
	Version    string            `json:"version"`
	Tags       map[string]string `json:"tags"`
	Owner      string            `json:"owner"`
	StatusAddr string            `json:"status_addr"`
	Started    time.Time         `json:"started"`
}

// servicePrefix is what the keys of a service begin with.
func (c config) servicePrefix(service string) string { return c.prefix + "/" + service + "/" }

// encodeAll returns the values of valid entries of a server, by their keys.
func (c config) encodeAll(instances []registry.Instance) (map[string]string, error) {
	if err := registry.ValidateAll(instances); err != nil {
		return nil, err
	}
	values := make(map[string]string, len(instances))
	var errs []error
	for n := range instances {
		i := &instances[n]
		value, err := encode(i)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", i.Service, err))
		}
		values[c.servicePrefix(i.Service)+i.ID] = value
	}
	return values, errors.Join(errs...)
}

func encode(i *registry.Instance) (string, error) {
	d := details{
		V: entryVersion, ID: i.ID, Kinds: i.Kinds, Health: i.Health, Version: i.Version,
		Tags: i.Tags, Owner: i.Owner, StatusAddr: i.StatusAddr, Started: i.Started,
	}
	if d.Tags == nil {
		d.Tags = map[string]string{}
	}
	b, err := json.Marshal(update{Addr: i.Addr, Metadata: d})
	if err != nil {
		return "", fmt.Errorf("entry: %w", err)
	}
	if len(b) > registry.MaxEntrySize {
		return "", fmt.Errorf("entry of %d bytes: must be at most %d: shorten the tags", len(b), registry.MaxEntrySize)
	}
	return string(b), nil
}

// decode returns the valid entry that a key of the service and its value make.
// name is what the key has after the service.
func decode(service, name string, value []byte) (registry.Instance, error) {
	if len(value) > registry.MaxEntrySize {
		return registry.Instance{}, fmt.Errorf("value of %d bytes: must be at most %d", len(value), registry.MaxEntrySize)
	}
	var u struct {
		Op       int
		Addr     string
		Metadata json.RawMessage
	}
	if err := json.Unmarshal(value, &u); err != nil {
		return registry.Instance{}, fmt.Errorf("value is no entry: %w", err)
	}
	if u.Op != 0 {
		return registry.Instance{}, fmt.Errorf("operation %d: must be 0", u.Op)
	}
	var i registry.Instance
	if ours(u.Metadata) {
		var d details
		if err := json.Unmarshal(u.Metadata, &d); err != nil {
			return i, fmt.Errorf("metadata: %w", err)
		}
		if d.V != entryVersion {
			return i, fmt.Errorf("metadata of version %d: must be %d", d.V, entryVersion)
		}
		if d.ID != name {
			return i, fmt.Errorf("instance ID %.64q: must be that of the key", d.ID)
		}
		i = d.instance()
	} else {
		i = registry.Instance{ID: foreignID(name), Kinds: grpcOnly, Health: registry.Ready}
	}
	i.Service, i.Addr = service, u.Addr
	return i, i.Validate()
}

// grpcOnly and grpcStatus are the kinds of most instances, which share them.
var (
	grpcOnly   = []registry.Kind{registry.KindGRPC}
	grpcStatus = []registry.Kind{registry.KindGRPC, registry.KindStatus}
)

func (d *details) instance() registry.Instance {
	switch {
	case len(d.Kinds) == 1 && d.Kinds[0] == registry.KindGRPC:
		d.Kinds = grpcOnly
	case len(d.Kinds) == 2 && d.Kinds[0] == registry.KindGRPC && d.Kinds[1] == registry.KindStatus:
		d.Kinds = grpcStatus
	}
	if len(d.Tags) == 0 {
		d.Tags = nil
	}
	return registry.Instance{
		ID: d.ID, Kinds: d.Kinds, Health: d.Health, Version: d.Version, Tags: d.Tags,
		Owner: d.Owner, StatusAddr: d.StatusAddr, Started: d.Started,
	}
}

// ours tells our metadata from what others may put there.
func ours(metadata json.RawMessage) bool {
	var mark struct {
		V  *json.Number `json:"v"`
		ID *string      `json:"id"`
	}
	return json.Unmarshal(metadata, &mark) == nil && mark.V != nil && mark.ID != nil
}

// foreignID makes an ID of a key that others chose, often the address.
func foreignID(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z') {
			return r
		}
		return '-'
	}, name)
	if clean == name && clean != "" && len(clean) <= 64 {
		return name
	}
	sum := fnv.New32a()
	sum.Write([]byte(name))
	return fmt.Sprintf("%s-%08x", clean[:min(len(clean), 48)], sum.Sum32())
}
