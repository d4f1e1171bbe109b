/** `[[proxy.listener.host]]`, `no_sni`, `ssl_passphrase_command` and `ssl_ocsp_file`. */
import { describe, expect, it } from 'vitest';
import { errorsOf, LISTENER, listenerOf, load, messagesOf, route, warningsOf } from './fixture.ts';

const FILES = 'ssl_cert_file = "tls.crt"\nssl_key_file = "tls.key"';

function host(hostname: string, rest: string = FILES): string {
  return `[[proxy.listener.host]]\nhostname = ${hostname}\n${rest}\n`;
}

function withHosts(...hosts: string[]): string {
  return `${route(`${LISTENER}\nsslmode = "require"\n${FILES}`)}${hosts.join('')}`;
}

describe('the hosts of a listener', () => {
  it('are read with their names in lower case, one name or several', () => {
    const source = withHosts(
      host('"A.Example"'),
      host('["b.example", "*.B.example"]', `${FILES}\nssl_ocsp_file = "ca.crt"`),
    );
    const [proxy] = load(source).config.proxies;
    expect(proxy?.listener.hosts).toMatchObject([
      { hostnames: ['a.example'], sslOcspFiles: [], backend: null },
      {
        hostnames: ['b.example', '*.b.example'],
        sslCertFiles: [expect.stringMatching(/\/tls\.crt$/)],
        sslKeyFiles: [expect.stringMatching(/\/tls\.key$/)],
        sslOcspFiles: [expect.stringMatching(/\/ca\.crt$/)],
      },
    ]);
  });

  it('suffice for TLS: the listener needs no certificate of its own', () => {
    const source = `${route(`${LISTENER}\nsslmode = "require"`)}${host('"a.example"')}`;
    expect(load(source).config.proxies[0]?.listener).toMatchObject({
      sslmode: 'require',
      sslCertFiles: [],
    });
  });

  it('need a name, a certificate and its key', () => {
    const source = `${withHosts(host('[]', ''))}[[proxy.listener.host]]\nssl_cert_file = "tls.crt"\n`;
    expect(messagesOf(source)).toEqual([
      'proxy[0].listener.host[0].ssl_cert_file: missing; a host needs a certificate and its key',
      'proxy[0].listener.host[0].ssl_key_file: missing; a host needs a certificate and its key',
      'proxy[0].listener.host[0].hostname: expected at least one host name',
      'proxy[0].listener.host[1].hostname: missing; expected such as "db.example.com" or "*.example.com"',
      'proxy[0].listener.host[1].ssl_key_file: missing; ssl_cert_file needs its private key',
    ]);
  });

  it.each([
    ['"192.0.2.1"', 'is an IP address'],
    ['"::1"', 'is an IP address'],
    ['"*"', 'a wildcard stands for the whole first label'],
    ['"a.*.example"', 'a wildcard stands for the whole first label'],
    ['"db*.example"', 'a wildcard stands for the whole first label'],
    ['"db.example."', 'is not a DNS name'],
    ['"db..example"', 'is not a DNS name'],
    ['"-db.example"', 'is not a DNS name'],
    ['"bücher.example"', 'is not a DNS name'],
    ['"db.example:5432"', 'is not a DNS name'],
  ])('refuse the name %s', (name, message) => {
    const [error, ...others] = errorsOf(withHosts(host(name)));
    expect(others).toEqual([]);
    expect(error?.keyPath).toBe('proxy[0].listener.host[0].hostname');
    expect(error?.message).toContain(message);
  });

  it('may not have a name twice, in whatever case and row', () => {
    const source = withHosts(host('["a.example", "A.EXAMPLE"]'), host('"a.example"'));
    expect(messagesOf(source)).toEqual([
      'proxy[0].listener.host[0].hostname[1]: "a.example" is there twice in this listener',
      'proxy[0].listener.host[1].hostname: "a.example" is there twice in this listener',
    ]);
  });

  it('are refused with one bracket, and their keys elsewhere', () => {
    const single = `${route(`${LISTENER}\n${FILES}`)}[proxy.listener.host]\nhostname = "a"\n`;
    expect(messagesOf(single)).toEqual([
      'proxy[0].listener.host: expected a list of tables [[proxy.listener.host]]; write it with two brackets',
    ]);
    expect(messagesOf(route(`${LISTENER}\nhostname = "a"`))).toEqual([
      'proxy[0].listener.hostname: unknown key here; it belongs to [[proxy.listener.host]]',
    ]);
    expect(messagesOf(withHosts(host('"a.example"', `${FILES}\nbackened = "x"`)))).toEqual([
      'proxy[0].listener.host[0].backened: unknown key in [[proxy.listener.host]]',
    ]);
  });

  it('have no effect without TLS, which is a warning', () => {
    const listener = `${LISTENER}\nsslmode = "disable"\nno_sni = "refuse"`;
    expect(warningsOf(`${route(listener)}${host('"a.example"')}`)).toEqual([
      'proxy[0].listener.no_sni: has no effect with sslmode "disable": there is no TLS',
      'proxy[0].listener.host: has no effect with sslmode "disable": there is no TLS',
    ]);
  });
});

describe('the other keys of identities', () => {
  it('are read, and have PostgreSQL-like defaults', () => {
    expect(listenerOf(FILES)).toMatchObject({
      noSni: 'default',
      sslPassphraseCommand: null,
      sslOcspFiles: [],
      hosts: [],
    });
    const written = `${FILES}\nno_sni = "refuse"\nssl_passphrase_command = "pass '%p'"\nssl_ocsp_file = "ca.crt"`;
    expect(listenerOf(written)).toMatchObject({
      noSni: 'refuse',
      sslPassphraseCommand: "pass '%p'",
      sslOcspFiles: [expect.stringMatching(/\/ca\.crt$/)],
    });
  });

  it('are checked', () => {
    const written = `${FILES}\nno_sni = "deny"\nssl_ocsp_file = ["ca.crt", "nope.ocsp"]`;
    const messages = messagesOf(route(`${LISTENER}\n${written}`));
    expect(messages).toHaveLength(3);
    expect(messages[0]).toBe('proxy[0].listener.no_sni: expected "default", "refuse", got "deny"');
    expect(messages.join('\n')).toContain('"nope.ocsp" does not exist'.slice(-15));
    expect(messages.join('\n')).toContain('expected 1 files, one for each of ssl_cert_file, got 2');
  });
});
