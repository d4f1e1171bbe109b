/** Configuration → options of the native side. */
import { describe, expect, it } from 'vitest';
import { toDataPlaneOptions } from '../../src/data-plane/options.ts';
import { config, proxyConfig } from './configuration.ts';

function listenerOf(listener: Parameters<typeof proxyConfig>[1]) {
  return toDataPlaneOptions(config([proxyConfig('a', listener)]), false).routes[0]?.listener;
}

describe('the options of the data plane', () => {
  it('carry the whole configuration, routes numbered in order', () => {
    const options = toDataPlaneOptions(config([proxyConfig('a'), proxyConfig('b')]), true);
    expect(options).toMatchObject({
      workers: 0,
      maxClientConn: 1_000,
      maxConcurrentHandshakes: 16,
      reportTlsEstablished: true,
    });
    expect(options.routes.map(({ routeId, name }) => [routeId, name])).toEqual([
      [0, 'a'],
      [1, 'b'],
    ]);
    const keepalive = {
      enabled: true,
      idleMillis: 60_000,
      intervalMillis: 0,
      count: 3,
      userTimeoutMillis: 0,
    };
    expect(options.routes[0]).toEqual({
      routeId: 0,
      name: 'a',
      maxClientConn: 0,
      maxClientConnPerIp: 0,
      hooks: {
        clientHello: false,
        clientCertificate: false,
        backendCertificate: false,
        route: false,
      },
      listener: {
        tls: {
          certFiles: ['/tls/server.crt'],
          keyFiles: ['/tls/server.key'],
          ocspFiles: [],
          passphraseCommand: null,
          hosts: [],
          noSni: 'default',
          caFile: null,
          crlFile: null,
          userMapFile: null,
          clientCertificate: 'none',
          minVersion: 'TLSv1.2',
          maxVersion: null,
          ciphers: [],
          groups: ['X25519'],
          alpn: ['postgresql'],
          sessionTickets: 0,
          ticketKeyFile: null,
          ticketRotationMillis: 21_600_000,
        },
        requireTls: false,
        clientIdleTimeoutMillis: 0,
        keepalive,
      },
      backend: {
        addresses: [
          { kind: 'tcp', host: 'db.example', port: 5432 },
          { kind: 'unix', host: '/run/postgresql/.s.PGSQL.5432', port: 0 },
        ],
        sslmode: 'verify-full',
        sslnegotiation: 'postgres',
        sslrootcert: 'system',
        sslcrl: null,
        sslcert: null,
        sslkey: null,
        sslsni: true,
        minVersion: 'TLSv1.2',
        maxVersion: null,
        connectTimeoutMillis: 5_000,
        keepalive,
        loadBalanceHosts: 'random',
        roles: {
          targetSessionAttrs: 'read-write',
          probeUser: 'probe',
          probePasswordFile: '/etc/pgtls/probe.password',
          probeDatabase: 'postgres',
        },
        warm: { connections: 4, maxAgeMillis: 30_000 },
        sendsProxyHeader: false,
        addsHostToApplicationName: true,
      },
      backends: [],
      rules: [],
    });
  });

  it('carry hosts, named backends with the keepalive of the listener, and rules', () => {
    const proxy = proxyConfig('a', {
      sslOcspFiles: ['/tls/server.ocsp'],
      sslPassphraseCommand: 'pass %p',
      noSni: 'refuse',
      hosts: [
        {
          hostnames: ['a.example'],
          sslCertFiles: ['/a.crt'],
          sslKeyFiles: ['/a.key'],
          sslOcspFiles: [],
          backend: 'b',
        },
      ],
    });
    const routes = [{ database: 'orders_*', user: null, backend: 'b' }];
    const backends = [{ name: 'b', backend: proxy.backend }];
    const [options] = toDataPlaneOptions(config([{ ...proxy, backends, routes }]), false).routes;
    expect(options?.listener.tls).toMatchObject({
      ocspFiles: ['/tls/server.ocsp'],
      passphraseCommand: 'pass %p',
      noSni: 'refuse',
      hosts: [
        {
          hostnames: ['a.example'],
          certFiles: ['/a.crt'],
          keyFiles: ['/a.key'],
          ocspFiles: [],
          backend: 'b',
        },
      ],
    });
    expect(options?.backends).toEqual([{ name: 'b', backend: options?.backend }]);
    expect(options?.rules).toEqual([{ user: null, database: 'orders_*', backend: 'b' }]);
  });

  it('have no TLS where the listener disables it', () => {
    expect(listenerOf({ sslmode: 'disable' })).toMatchObject({ tls: null, requireTls: false });
  });

  it('ask for a client certificate when there is a CA to verify it', () => {
    const options = listenerOf({ sslmode: 'require', sslCaFile: '/tls/ca.crt' });
    expect(options).toMatchObject({ requireTls: true, tls: { clientCertificate: 'request' } });
  });

  it('demand a client certificate with verify-ca', () => {
    const options = listenerOf({ sslmode: 'verify-ca', sslCaFile: '/tls/ca.crt' });
    expect(options).toMatchObject({ requireTls: true, tls: { clientCertificate: 'require' } });
  });
});
