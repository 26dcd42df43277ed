//go:build unix

package local

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-easyops/easyops/runtime/registry"
)

func TestDirectoryChecks(t *testing.T) {
	for name, tt := range map[string]struct {
		make    func(t *testing.T, dir string) error
		wantErr string
	}{
		"missing":   {func(*testing.T, string) error { return nil }, ""},
		"ours":      {func(_ *testing.T, dir string) error { return os.Mkdir(dir, 0o700) }, ""},
		"readable":  {func(_ *testing.T, dir string) error { return mkdirMode(dir, 0o755) }, ""},
		"writable":  {func(_ *testing.T, dir string) error { return mkdirMode(dir, 0o770) }, "chmod 700"},
		"a file":    {func(_ *testing.T, dir string) error { return os.WriteFile(dir, nil, 0o600) }, "not a directory"},
		"a link":    {func(t *testing.T, dir string) error { return os.Symlink(t.TempDir(), dir) }, "symbolic link"},
		"a foreign": {foreignDir, "belongs to another user"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "reg")
			if err := tt.make(t, dir); err != nil {
				t.Fatal(err)
			}
			r := openRegistry(t, dir)
			w := startWatch(t, r, "echo")
			l, err := r.Register(t.Context(), entries("a", registry.Ready, "echo"))
			if tt.wantErr == "" {
				if err != nil {
					t.Fatal(err)
				}
				w.waitFor("[a=READY]")
				l.Close(t.Context())
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want an error that names the directory and says %q", err, tt.wantErr)
			}
			w.waitFor("error")
		})
	}
}

func mkdirMode(dir string, mode os.FileMode) error {
	if err := os.Mkdir(dir, mode); err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}

func foreignDir(t *testing.T, dir string) error {
	if os.Getuid() != 0 {
		t.Skip("only root can make a directory of another user")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return os.Chown(dir, 4242, -1)
}

// The user's own directory is for nobody else.
func TestUsersOwnDirectory(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	r := openRegistry(t, "")
	if err := mkdirMode(r.publish, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Register(t.Context(), entries("a", registry.Ready, "echo")); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("got %v, want an error that says chmod 700", err)
	}
}

// A directory that is put right is used without a restart.
func TestDirectoryPutRight(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "reg")
	if err := mkdirMode(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	w := startWatch(t, openRegistry(t, dir), "echo")
	w.waitFor("error")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.waitFor("[]")
}

// A socket of another user is not asked.
func TestForeignSocket(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file away")
	}
	r := newRegistry(t)
	register(t, r, entries("a", registry.Ready, "echo"))
	line, err := encode(entries("b", registry.Ready, "echo"))
	if err != nil {
		t.Fatal(err)
	}
	speak(t, r.publish, "b", string(line))
	path := filepath.Join(r.publish, "b"+suffix)
	startWatch(t, r, "echo").waitFor("[a=READY b=READY]") // it would be, if it were ours
	if err := os.Chown(path, 4242, -1); err != nil {
		t.Fatal(err)
	}
	// Under a new name, because the old one is known.
	if err := os.Rename(path, filepath.Join(r.publish, "c"+suffix)); err != nil {
		t.Fatal(err)
	}
	other := openRegistry(t, r.publish+"/../reg2")
	if err := os.Rename(r.publish, other.publish); err != nil {
		t.Fatal(err)
	}
	startWatch(t, other, "echo").waitFor("[a=READY]")
}

func TestUserDirs(t *testing.T) {
	xdg, tmp := t.TempDir(), t.TempDir()
	uid := strconv.Itoa(os.Getuid())
	t.Setenv("TMPDIR", tmp)
	fallback := filepath.Join(tmp, "easyops-"+uid)

	t.Setenv("XDG_RUNTIME_DIR", xdg)
	dirs := userDirs()
	if dirs[0] != filepath.Join(xdg, "easyops") || !strings.Contains(strings.Join(dirs[1:], " "), fallback) {
		t.Errorf("with the variable: %v", dirs)
	}
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/"+uid)
	if dirs := userDirs(); len(dirs) > 2 {
		t.Errorf("one directory is read twice: %v", dirs)
	}
	for _, value := range []string{"", "relative", filepath.Join(xdg, "missing")} {
		t.Setenv("XDG_RUNTIME_DIR", value)
		if dirs := userDirs(); dirs[0] != fallback {
			t.Errorf("with %q: %v", value, dirs)
		}
	}
}

// Programs with and without the variable find each other.
func TestBothDirectories(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", "")
	without := openRegistry(t, "")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	open := func() *Registry {
		r := openRegistry(t, "")
		r.read = []string{r.publish, without.publish} // not the one of whoever runs the test
		return r
	}
	with := open()

	w := startWatch(t, with, "easyops.test.Both")
	register(t, without, entries("a", registry.Ready, "easyops.test.Both"))
	w.waitFor("[a=READY]")
	register(t, with, entries("b", registry.Ready, "easyops.test.Both"))
	w.waitFor("[a=READY b=READY]")

	// One that others spoiled does not spoil the rest.
	if err := os.Chmod(without.publish, 0o777); err != nil {
		t.Fatal(err)
	}
	startWatch(t, open(), "easyops.test.Both").wait("b", func(last string) bool { return strings.Contains(last, "b=READY") })
}

func TestDriver(t *testing.T) {
	dir := t.TempDir()
	r, err := registry.Open("local:"+dir, slog.Default())
	if err != nil || r.String() != "local registry in "+dir {
		t.Errorf("got %v, %v", r, err)
	}
	if r, err := registry.Open("local", nil); err != nil || !strings.Contains(r.String(), "easyops") {
		t.Errorf("got %v, %v", r, err)
	}
	if _, err := registry.Open("local:", slog.Default()); err == nil {
		t.Error("no directory: no error")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestUserDir(t *testing.T) {
	xdg := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", xdg)
	dir, err := UserDir()
	if dir != filepath.Join(xdg, "easyops") || err != nil {
		t.Errorf("%q, %v", dir, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := UserDir(); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("open to others: %v", err)
	}
}
