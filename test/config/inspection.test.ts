import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/config/diagnostics.ts';
import type { CertificateFindings, CertificateProblem } from '../../src/config/inspection.ts';
import { loadInspectedConfig } from '../../src/config/parse.ts';
import type { Config } from '../../src/config/schema.ts';
import { LISTENER, required, route, writeConfig } from './fixture.ts';

const IDENTITY =
  'ssl_cert_file = ["tls.crt", "other.crt"]\nssl_key_file = ["tls.key", "other.key"]';
const GOOD = route(`${LISTENER}\n${IDENTITY}`);

function finding(path: string, message = 'is wrong', routeId = 0): CertificateProblem {
  return { routeId, path, message };
}

/** `line:column key: message` of every error, with an inspection that finds `problems`. */
async function inspected(
  source: string,
  problems: readonly CertificateProblem[],
): Promise<string[]> {
  try {
    await loadInspectedConfig(writeConfig(source), {}, async () => ({ problems, warnings: [] }));
  } catch (error) {
    if (error instanceof ConfigError) {
      return error.diagnostics.map((d) => `${d.line}:${d.column} ${d.keyPath}: ${d.message}`);
    }
    throw error;
  }
  return [];
}

describe('problems inside of certificate files', () => {
  it('are placed at their key like any other error', async () => {
    expect(
      await inspected(GOOD, [finding('listener.ssl_key_file[1]', 'matches no certificate')]),
    ).toEqual(['6:28 proxy[0].listener.ssl_key_file[1]: matches no certificate']);
  });

  it("are placed at the first pgtls's spelling when the file has that", async () => {
    const source = route(`${LISTENER}\nserver_cert = "tls.crt"\nserver_key = "tls.key"`);
    expect(await inspected(source, [finding('listener.ssl_cert_file[0]')])).toEqual([
      '5:1 proxy[0].listener.server_cert: is wrong',
    ]);
  });

  it('come together with the errors of the file', async () => {
    const source = `workers = "x"\n${GOOD}`;
    expect(await inspected(source, [finding('listener.ssl_cert_file[0]')])).toEqual([
      '1:1 workers: expected an integer from 0 to 1024, got "x"',
      '6:18 proxy[0].listener.ssl_cert_file[0]: is wrong',
    ]);
  });

  it('are not told again about a key that is wrong already', async () => {
    const source = route(`${LISTENER}\nserver_cert = "nope.crt"\nserver_key = "tls.key"`);
    expect(await inspected(source, [finding('listener.ssl_cert_file[0]')])).toEqual([
      expect.stringContaining('does not exist'),
    ]);
  });

  it('are asked for only of routes with a backend address, and keep their route', async () => {
    const seen: string[] = [];
    const source = route(LISTENER, '', 'a') + route('bind_address = "127.0.0.1:1"', undefined, 'b');
    const inspect = async (config: Config): Promise<CertificateFindings> => {
      seen.push(...config.proxies.map(({ name }) => name));
      return { problems: [finding('backend.sslrootcert')], warnings: [] };
    };
    await expect(loadInspectedConfig(writeConfig(source), {}, inspect)).rejects.toThrow(
      'proxy[1].backend.sslrootcert: is wrong',
    );
    expect(seen).toEqual(['b']);
  });

  it('can be doubts: then the file is valid and they are among its warnings', async () => {
    const findings = { problems: [], warnings: [finding('listener.ssl_cert_file[0]', 'expired')] };
    const loaded = await loadInspectedConfig(writeConfig(GOOD), {}, async () => findings);
    expect(loaded.inspection).toBe(findings);
    expect(required(loaded.warnings[0])).toMatchObject({ line: 5, column: 18, message: 'expired' });
  });
});

describe('an inspection that cannot work', () => {
  const broken = () => Promise.reject(new Error('no binding'));

  it('is an error of its own when the file is right', async () => {
    await expect(loadInspectedConfig(writeConfig(GOOD), {}, broken)).rejects.toThrow('no binding');
  });

  it('yields to the errors of the file', async () => {
    const loading = loadInspectedConfig(writeConfig('workers = "x"'), {}, broken);
    await expect(loading).rejects.toThrow(ConfigError);
  });
});
