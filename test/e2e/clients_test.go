//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bailey-sandbox/bailey/test/machine"
)

// client is a program that speaks HTTP in its own way. Its script knows $URL, $PORT and, with the host's npm
// packages in it, $NODE_PATH; it prints REACHED when it has done all that it wants.
type client struct {
	name   string
	needs  string // a command that works inside where the client is there
	script string
	tunnel bool // it can be told of the world's authority by a variable
}

func clients() []client {
	return []client{
		{"curl-http1", "curl --version", curl + "--http1.1 $URL", true},
		{"curl-http2", "curl --version", curl + "--http2 $URL", true},
		{"wget", "wget --version", "wget -t1 -T10 -qO- $URL", false},
		{"python3", "python3 --version", `python3 -c "import urllib.request as r; print(r.urlopen('$URL', timeout=10).read().decode())"`, true},
		{"python3-requests", "/usr/bin/python3 -c 'import requests'", `/usr/bin/python3 -c "import requests; print(requests.get('$URL', timeout=10).text)"`, true},
		{"python3-httpx", "/usr/bin/python3 -c 'import httpx'", `/usr/bin/python3 -c "import httpx; print(httpx.get('$URL', timeout=10).text)"`, true},
		{"python3-pip", "/usr/bin/python3 -m pip --version",
			"/usr/bin/python3 -m pip download -q --retries 0 --no-deps --no-cache-dir -d wheels --index-url ${URL}pip/simple lab && unzip -p wheels/lab-*.whl lab.py || /usr/bin/python3 -m zipfile -e wheels/lab-*.whl out && cat out/lab.py", true},
		{"python3-grpcio", "/usr/bin/python3 -c 'import grpc'", "/usr/bin/python3 grpc-client.py $PORT", true},
		{"node", "node --version", `node -e "fetch('$URL').then(r => r.text()).then(console.log)"`, true},
		{"node-https", "node --version", `node -e "require('https').get('$URL', r => r.pipe(process.stdout))"`, true},
		{"node-ws", "node -e 'require(\"ws\")'", `node -e "const W = require('ws'), c = new W('wss://host.bailey.internal:$PORT/ws', { origin: 'https://host.bailey.internal' }); c.on('open', () => c.send('REACHED')); c.on('message', m => { console.log('' + m); c.close() })"`, true},
		{"node-grpc", "node -e 'require(\"@grpc/grpc-js\")'", "node grpc-client.js $PORT", true},
		{"bun", "bun --version", `bun -e "console.log(await (await fetch('$URL')).text())"`, false},
		{"deno", "deno --version", `deno eval "console.log(await (await fetch('$URL')).text())"`, true},
		{"ruby", "ruby --version", `ruby -rnet/http -e "puts Net::HTTP.get(URI('$URL'))"`, true},
		{"java", "java --version", "java Client.java $URL", false},
		{"cargo", "cargo --version", "rm -rf crate && mkdir -p crate/src crate/home && cd crate && touch src/lib.rs && CARGO_NET_RETRY=0 CARGO_HOME=$PWD/home && export CARGO_NET_RETRY CARGO_HOME && " +
			"printf '[package]\\nname = \"shop\"\\nversion = \"1.0.0\"\\n[dependencies]\\nlab = { version = \"1\", registry = \"lab\" }\\n' > Cargo.toml && " +
			"printf '[registries.lab]\\nindex = \"sparse+%scargo/\"\\n' $URL > home/config.toml && cargo fetch -q && cat home/registry/src/*/lab-1.0.0/src/lib.rs", true},
		{"apt", "apt-get --version", "rm -rf apt && mkdir -p apt/lists/partial apt/cache/archives/partial && cd apt && echo \"deb [trusted=yes] ${URL}apt ./\" > list && " +
			"export APT_CONFIG=$PWD/conf && printf 'Dir::State::lists \"%s/lists\"; Dir::Cache \"%s/cache\"; Dir::Etc::SourceList \"%s/list\"; Dir::Etc::SourceParts \"-\"; Acquire::Retries \"0\"; Acquire::https::Timeout \"10\";\\n' $PWD $PWD $PWD > conf && " +
			"apt-get update -q && apt-get download -q lab && cat lab_*.deb", false},
		{"npm", "npm --version", "rm -rf n && mkdir n && cd n && export npm_config_registry=$URL npm_config_fetch_retries=0 npm_config_cache=$PWD/cache npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false && npm init -y >/dev/null && " +
			"npm install -q --package-lock-only is-number@7.0.0 && npm ci -q && test -s node_modules/is-number/index.js && echo REACHED", false},
		{"go", "go version", "rm -rf g && mkdir g && cd g && export GOSUMDB=off GOTOOLCHAIN=local GOFLAGS=-modcacherw GOPATH=$PWD/path GOPROXY=${URL}go && go mod init shop && " +
			"go mod edit -require golang.org/x/sync@v0.20.0 && go mod download && test -d path/pkg/mod/golang.org/x/sync@v0.20.0 && echo REACHED", true},
		// curl 7.88 breaks large uploads over HTTP/2 off, with nobody in between too.
		{"git", "git --version", "rm -rf tree && git clone -q ${URL}git/lab.git tree && cd tree && git checkout -qb b$PORT && head -c 3000000 /dev/urandom > large && git add large && " +
			"git -c user.name=ada -c user.email=ada@lab.test commit -qm two && git -c http.version=HTTP/1.1 push -q origin HEAD && git ls-remote --heads origin b$PORT | grep -q b$PORT && cat file", true},
	}
}

// sources are the files that some clients need in the project.
func sources() map[string]string {
	return map[string]string{
		"Client.java": `import java.net.URI;
import java.net.http.*;
public class Client {
	public static void main(String[] a) throws Exception {
		var request = HttpRequest.newBuilder(URI.create(a[0])).build();
		System.out.print(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body());
		new java.net.URL(a[0]).openStream().transferTo(System.out);
	}
}
`,
		"grpc-client.py": `import grpc, sys
same = dict(request_serializer=lambda b: b, response_deserializer=lambda b: b)
with grpc.secure_channel("host.bailey.internal:" + sys.argv[1], grpc.ssl_channel_credentials()) as channel:
    answer, call = channel.unary_unary("/lab.Echo/Say", **same).with_call(b"one", timeout=10)
    many = list(channel.unary_stream("/lab.Echo/Stream", **same)(b"two", timeout=10))
    if answer == b"one" and many == [b"two"] * 3 and ("lab-trailer", "trailed") in [tuple(t) for t in call.trailing_metadata()]:
        print("REACHED")
`,
		"grpc-client.js": `const grpc = require("@grpc/grpc-js");
const same = b => b, client = new grpc.Client("host.bailey.internal:" + process.argv[2], grpc.credentials.createSsl());
const deadline = { deadline: Date.now() + 10000 };
let trailed = false;
const call = client.makeUnaryRequest("/lab.Echo/Say", same, same, Buffer.from("one"), new grpc.Metadata(), deadline, (err, answer) => {
	if (err) { console.log(err.message); process.exit(1); }
	const many = client.makeServerStreamRequest("/lab.Echo/Stream", same, same, Buffer.from("two"), new grpc.Metadata(), deadline);
	let n = 0;
	many.on("data", b => { if (b.toString() == "two") n++; });
	many.on("error", e => console.log(e.message));
	many.on("end", () => { if (answer.toString() == "one" && n == 3 && trailed) console.log("REACHED"); client.close(); });
});
call.on("status", s => { trailed = s.metadata.get("lab-trailer")[0] == "trailed"; });
`,
	}
}

// Real clients work through inspection without being told of it, and through a tunnel when they trust the world;
// without a rule they reach nothing.
func TestRealClients(t *testing.T) {
	world, roots := newWorld(t)
	inspected, tunnelled, denied := newOrigin(t, world), newOrigin(t, world), newOrigin(t, world)
	u := newUser(t)
	u.env = append(u.env, "SSL_CERT_FILE="+roots) // the host's, for the supervisor
	u.linkCargo()
	flags := []string{"--allow", "host.bailey.internal:" + inspected.port, "--allow", "tunnel:host.bailey.internal:" + tunnelled.port}
	modules := npmPackages(t)
	if modules != "" {
		flags = append(flags, "-v", modules+":ro")
	}
	for name, content := range sources() {
		u.write("src/shop/"+name, content)
	}
	u.write("src/shop/world.crt", string(world.PEM()))
	u.box(flags...)
	u.must("allow", "--sandbox", "box", "--push", "git/lab:*", "host.bailey.internal:"+inspected.port)
	preamble := func(o *origin) string {
		return fmt.Sprintf("export PORT=%s URL=https://host.bailey.internal:%[1]s/ NODE_PATH=%s/node_modules\nPATH=$PATH:%[2]s/node_modules/@oven/bun-linux-x64/bin:%[2]s/node_modules/@deno/linux-x64-glibc\n", o.port, modules)
	}
	if got := u.outside(curl + "-k https://127.0.0.1:" + denied.port); !strings.Contains(got, "REACHED") || denied.came() != 1 {
		t.Fatalf("the control does not reach the server without a rule: %s", got)
	}
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			if got := u.inside("box", preamble(inspected)+c.needs+" >/dev/null && echo THERE"); !strings.Contains(got, "THERE\n") {
				machine.Lack(t, c.name, got)
			}
			if got := u.inside("box", preamble(inspected)+c.script); !strings.Contains(got, "REACHED") || inspected.came() == 0 {
				t.Errorf("through inspection: %s", got)
			}
			if c.tunnel {
				trust := "export"
				for _, key := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NODE_EXTRA_CA_CERTS", "DENO_CERT"} {
					trust += " " + key + "=$PWD/world.crt"
				}
				if got := u.inside("box", preamble(tunnelled)+trust+"\n"+c.script); !strings.Contains(got, "REACHED") || tunnelled.came() == 0 {
					t.Errorf("through a tunnel: %s", got)
				}
			}
			if got := u.inside("box", "rm -rf wheels out\n"+preamble(denied)+c.script); strings.Contains(got, "REACHED") || denied.came() != 0 {
				t.Errorf("without a rule: %s", got)
			}
		})
	}
}

// linkCargo shows the tester's own toolchain, where rustup has put one into the home directory.
func (u *user) linkCargo() {
	home, err := os.UserHomeDir()
	if err != nil {
		u.t.Fatal(err)
	}
	for _, dir := range []string{".cargo", ".rustup"} {
		if _, err := os.Stat(filepath.Join(home, dir)); err == nil {
			if err := os.Symlink(filepath.Join(home, dir), filepath.Join(u.home, dir)); err != nil {
				u.t.Fatal(err)
			}
		}
	}
	u.env = append(u.env, "PATH="+filepath.Join(u.home, ".cargo/bin")+":"+os.Getenv("PATH"))
}

// npmPackages fetches the clients that npm has, once for a machine; "" when it cannot be done here.
func npmPackages(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "bailey-test", "clients-1")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(dir), "new-clients-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(unfinished)
	install := exec.Command("npm", "install", "--prefix", unfinished, "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries", "1",
		"bun@1.3.1", "deno@2.5.4", "ws@8.18.3", "@grpc/grpc-js@1.14.0")
	if out, err := install.CombinedOutput(); err != nil {
		t.Logf("npm has no clients here: %v\n%s", err, out)
		return ""
	}
	if err := os.Chmod(unfinished, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(unfinished, dir); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	return dir
}
