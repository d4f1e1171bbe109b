/** A client of the admin server, and a reader of Prometheus' text format. */
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { RunningProxy } from './running-proxy.ts';

/** What the server said. */
export interface AdminResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** How it is asked; `ca` = over TLS. */
export interface AdminRequest {
  readonly method?: string;
  readonly token?: string;
  readonly ca?: string;
}

/** Asks once, on a connection of its own. */
export function askAdmin(
  port: number,
  path: string,
  { method = 'GET', token, ca }: AdminRequest = {},
): Promise<AdminResponse> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const options = { host: '127.0.0.1', port, path, method, headers, agent: false };
  return new Promise((resolve, reject) => {
    const request =
      ca === undefined
        ? requestHttp(options)
        : requestHttps({ ...options, ca, servername: 'localhost' });
    request.on('error', reject);
    request.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
      );
    });
    request.end();
  });
}

/** The port of a running program's admin server, once it listens. */
export async function adminPort(proxy: RunningProxy): Promise<number> {
  const line = await proxy.logged({ event: 'admin.bind' });
  return Number(/:(\d+)$/.exec(String(line['listener_addr']))?.[1]);
}

/** One line of a scrape. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A scrape, to be asked for sums. */
export class Scrape {
  readonly samples: readonly Sample[];

  constructor(text: string) {
    this.samples = text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map(parsedLine);
  }

  /** Takes one now. */
  static async of(port: number, request: AdminRequest = {}): Promise<Scrape> {
    const { status, body } = await askAdmin(port, '/metrics', request);
    if (status !== 200) {
      throw new Error(`/metrics said ${status}: ${body}`);
    }
    return new Scrape(body);
  }

  /** The sum of the samples of that name that have all these labels; 0 when there is none. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const wanted = Object.entries(labels);
    return this.samples
      .filter((sample) => sample.name === name)
      .filter((sample) => wanted.every(([label, value]) => sample.labels[label] === value))
      .reduce((total, { value }) => total + value, 0);
  }
}

function parsedLine(line: string): Sample {
  const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
  if (name === undefined) {
    throw new Error(`not a sample: ${line}`);
  }
  const pairs = labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g);
  const parsed = [...pairs].map(([, label = '', text = '']) => [label, text] as const);
  return { name, labels: Object.fromEntries(parsed), value: Number(value) };
}
