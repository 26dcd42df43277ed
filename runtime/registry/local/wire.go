package local

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-easyops/easyops/runtime/registry"
)

// A process sends a line each time its entries change: all of them, in JSON.
const (
	version = 1
	maxLine = 64 << 10 // bytes, with the line's end
)

type snapshot struct {
	V         int                 `json:"v"`
	Instances []registry.Instance `json:"instances"`
}

// encode returns the line for the entries.
func encode(instances []registry.Instance) ([]byte, error) {
	line, err := json.Marshal(snapshot{V: version, Instances: instances})
	if err != nil {
		return nil, err
	}
	if len(line) >= maxLine {
		return nil, fmt.Errorf("entries of %d bytes: must be less than %d: shorten the tags, or serve fewer services in one process", len(line), maxLine)
	}
	return append(line, '\n'), nil
}

// decode returns the valid entries of a line of the process with the ID, and
// what is wrong with the others.
func decode(line []byte, id string) (list []registry.Instance, err error) {
	var s struct {
		V         int               `json:"v"`
		Instances []json.RawMessage `json:"instances"`
	}
	if err := json.Unmarshal(line, &s); err != nil {
		return nil, fmt.Errorf("not a snapshot: %w", err)
	}
	if s.V != version {
		return nil, fmt.Errorf("snapshot of version %d: must be %d", s.V, version)
	}
	var errs []error
	seen := map[string]bool{}
	for _, raw := range s.Instances {
		i, err := decodeEntry(raw, id)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !seen[i.Service]:
			list = append(list, i)
			seen[i.Service] = true
		}
	}
	return list, errors.Join(errs...)
}

func decodeEntry(raw []byte, id string) (i registry.Instance, err error) {
	if len(raw) > registry.MaxEntrySize {
		return i, fmt.Errorf("entry of %d bytes: must be at most %d", len(raw), registry.MaxEntrySize)
	}
	if err := json.Unmarshal(raw, &i); err != nil {
		return i, fmt.Errorf("not an entry: %w", err)
	}
	if i.ID != id {
		return i, fmt.Errorf("entry with the ID %.64q of another process", i.ID)
	}
	return i, i.Validate()
}
