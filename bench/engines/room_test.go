package engines

import (
	"os"
	"testing"
)

func TestConfigureKeepsWhatTheRuntimeProposes(t *testing.T) {
	path := t.TempDir() + "/config.json"
	const proposed = `{"ociVersion":"1.0.2","process":{"terminal":true,"args":["sh"],"noNewPrivileges":true},"root":{"path":"rootfs"},"linux":{"a":1}}`
	if err := os.WriteFile(path, []byte(proposed), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := configure(path, "/image"); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"linux":{"a":1},"ociVersion":"1.0.2","process":{"args":["/true"],"noNewPrivileges":true,"terminal":false},"root":{"path":"/image","readonly":true}}`
	if string(content) != want {
		t.Errorf("got %s", content)
	}
}

func TestABundleWithoutAProcessIsNone(t *testing.T) {
	path := t.TempDir() + "/config.json"
	if err := os.WriteFile(path, []byte(`{"ociVersion":"1.0.2"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := configure(path, "/image"); err == nil {
		t.Error("it was taken")
	}
}
