/** Configurations for the tests of data plane and proxy. */
import type { Config, ListenerConfig, ProxyConfig } from '../../src/config/schema.ts';

/** A route on a free port of 127.0.0.1; its backend is never reached. */
export function proxyConfig(name: string, listener: Partial<ListenerConfig> = {}): ProxyConfig {
  return {
    name,
    listener: {
      bindAddresses: [{ kind: 'tcp', host: '127.0.0.1', port: 0 }],
      sslmode: 'prefer',
      sslnegotiation: 'any',
      sslCertFiles: ['/tls/server.crt'],
      sslKeyFiles: ['/tls/server.key'],
      sslOcspFiles: [],
      sslPassphraseCommand: null,
      noSni: 'default',
      hosts: [],
      sslCaFile: null,
      sslCrlFile: null,
      userMapFile: null,
      sslMinProtocolVersion: 'TLSv1.2',
      sslMaxProtocolVersion: null,
      sslCiphers: [],
      sslGroups: ['X25519'],
      alpn: ['postgresql'],
      sessionTickets: 0,
      ticketKeyFile: null,
      ticketRotationMillis: 21_600_000,
      certRefreshIntervalMillis: 0,
      maxClientConn: 0,
      maxClientConnPerIp: 0,
      connRatePerIp: 0,
      proxyProtocol: 'off',
      trustedProxies: [],
      listenBacklog: 128,
      soReuseport: false,
      tcpKeepalive: true,
      tcpKeepidleMillis: 60_000,
      tcpKeepintvlMillis: 0,
      tcpKeepcnt: 3,
      tcpUserTimeoutMillis: 0,
      clientIdleTimeoutMillis: 0,
      allow: [],
      deny: [],
      ...listener,
    },
    backend: {
      addresses: [
        { kind: 'tcp', host: 'db.example', port: 5432 },
        { kind: 'unix', path: '/run/postgresql/.s.PGSQL.5432' },
      ],
      sslmode: 'verify-full',
      sslnegotiation: 'postgres',
      sslrootcert: 'system',
      sslcrl: null,
      sslcert: null,
      sslkey: null,
      sslsni: true,
      sslMinProtocolVersion: 'TLSv1.2',
      sslMaxProtocolVersion: null,
      connectTimeoutMillis: 5_000,
      loadBalanceHosts: 'random',
      roles: {
        targetSessionAttrs: 'read-write',
        probeUser: 'probe',
        probePasswordFile: '/etc/pgtls/probe.password',
        probeDatabase: 'postgres',
      },
      warm: { connections: 4, maxAgeMillis: 30_000 },
      proxyProtocol: 'off',
      applicationNameAddHost: true,
    },
    backends: [],
    routes: [],
  };
}

/** A configuration of these routes. */
export function config(proxies: readonly ProxyConfig[], rest: Partial<Config> = {}): Config {
  return {
    logLevel: 'info',
    logFormat: 'json',
    workers: 0,
    maxClientConn: 1_000,
    maxConcurrentHandshakes: 16,
    clientLoginTimeoutMillis: 15_000,
    shutdownTimeoutMillis: 60_000,
    shutdownDelayMillis: 0,
    admin: null,
    reloadOnChange: false,
    proxies,
    ...rest,
  };
}
