package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bailey-sandbox/bailey/internal/sandbox"
)

// maxMetadata bounds the description of a package. The largest seen is below 1 MB.
const maxMetadata = 64 << 20

// errUnreachable: the registry did not answer; what is in the cache may do instead.
var errUnreachable = errors.New("cannot reach the package registry")

// packument is a package's abbreviated metadata (npm/registry, docs/responses/package-metadata.md).
type packument struct {
	DistTags map[string]string  `json:"dist-tags"`
	Versions map[string]release `json:"versions"`
}

type release struct {
	Dependencies         map[string]string `json:"dependencies"`
	OptionalDependencies map[string]string `json:"optionalDependencies"`
	Dist                 struct {
		Tarball   string `json:"tarball"`
		Integrity string `json:"integrity"`
	} `json:"dist"`
}

// packument asks the registry for pkg.
func (s Store) packument(ctx context.Context, pkg string, wait time.Duration) (packument, error) {
	base, err := s.Registry.baseFor(pkg)
	if err != nil {
		return packument{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	// The slash of a scope is escaped, as npm does.
	body, _, err := s.get(ctx, base.JoinPath(strings.Replace(pkg, "/", "%2f", 1)), "application/vnd.npm.install-v1+json")
	if err != nil {
		return packument{}, fmt.Errorf("cannot look up package %s: %w", pkg, err)
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxMetadata+1))
	if err != nil {
		return packument{}, unreachable(base, err)
	}
	var p packument
	if len(data) > maxMetadata || json.Unmarshal(data, &p) != nil {
		return packument{}, fmt.Errorf("the registry %s answers nonsense about package %s", base.Host, pkg)
	}
	return p, nil
}

// get opens u. The caller closes the body; size is -1 when unknown. Nothing that started as https goes on
// as plain http: the metadata carries the hashes.
func (s Store) get(ctx context.Context, u *url.URL, accept string) (body io.ReadCloser, size int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, fmt.Errorf("the registry gives an invalid address: %w", err)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "bailey")
	if login := s.Registry.login(u); login != "" {
		req.Header.Set("Authorization", login)
	}
	client := http.Client{}
	if s.HTTP != nil {
		client = *s.HTTP
	}
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if len(via) > 5 || via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
			return errors.New("too many redirects, or one to plain http")
		}
		return nil
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, unreachable(u, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, resp.ContentLength, nil
	}
	resp.Body.Close()
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound:
		return nil, 0, fmt.Errorf("the registry %s does not have it", u.Host)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return nil, 0, sandbox.WithHint(fmt.Errorf("the registry %s refuses: %s", u.Host, resp.Status),
			"put its token into ~/.npmrc: //"+u.Host+"/:_authToken=…")
	default:
		return nil, 0, unreachable(u, errors.New(resp.Status))
	}
}

func unreachable(u *url.URL, err error) error {
	if urlErr := (*url.Error)(nil); errors.As(err, &urlErr) {
		err = urlErr.Err // the address is long, and may hold a password
	}
	return sandbox.WithHint(fmt.Errorf("%w %s: %v", errUnreachable, u.Host, err),
		"check the network, HTTPS_PROXY and SSL_CERT_FILE, or name a mirror: npm_config_registry=https://…")
}

// download is one tarball to fetch, and what must be in it.
type download struct {
	url       *url.URL
	integrity string
}

// locate finds the tarball that holds a's program in the given version.
func (s Store) locate(ctx context.Context, a Agent, version string, main packument, wait time.Duration) (download, error) {
	r, ok := main.Versions[version]
	if !ok {
		err := fmt.Errorf("%s has no version %q", a.Name, version)
		if latest := main.DistTags["latest"]; versionName(latest) {
			err = sandbox.WithHint(err, "bailey run --agent-version "+latest+" "+a.Name+" .")
		}
		return download{}, err
	}
	pkg := a.Package
	if len(a.Native) == 0 {
		if len(r.Dependencies) > 0 {
			return download{}, fmt.Errorf("cannot install %s %s: package %s needs %d other packages, and only one is fetched",
				a.Name, version, pkg, len(r.Dependencies))
		}
		return s.tarball(pkg, r)
	}
	n, err := a.native(s.Platform)
	if err != nil {
		return download{}, err
	}
	wanted, ok := r.OptionalDependencies[n.Package]
	if !ok {
		return download{}, sandbox.WithHint(fmt.Errorf("%s %s has no program %s", a.Name, version, n.Package),
			"bailey run --agent-version latest "+a.Name+" .")
	}
	// Either a version of n.Package, or "npm:other@version".
	pkg, version = n.Package, wanted
	if alias, ok := strings.CutPrefix(wanted, "npm:"); ok {
		at := strings.LastIndex(alias, "@")
		pkg, version = alias[:max(at, 0)], alias[at+1:]
	}
	if !packageName(pkg) || !versionName(version) {
		return download{}, fmt.Errorf("package %s asks for %q, which is no exact version", a.Package, wanted)
	}
	if pkg != a.Package {
		if main, err = s.packument(ctx, pkg, wait); err != nil {
			return download{}, err
		}
	}
	if r, ok = main.Versions[version]; !ok {
		return download{}, fmt.Errorf("the registry has no package %s in version %s", pkg, version)
	}
	return s.tarball(pkg, r)
}

func (s Store) tarball(pkg string, r release) (download, error) {
	base, err := s.Registry.baseFor(pkg)
	if err != nil {
		return download{}, err
	}
	u, err := url.Parse(r.Dist.Tarball)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != base.Scheme {
		return download{}, fmt.Errorf("the registry gives an invalid address for package %s", pkg)
	}
	return download{u, r.Dist.Integrity}, nil
}
