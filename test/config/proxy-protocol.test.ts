import { describe, expect, it } from 'vitest';
import {
  BACKEND,
  backendMessages,
  backendOf,
  listenerMessages,
  listenerOf,
  load,
  messagesOf,
  route,
  warningsOf,
} from './fixture.ts';

describe('proxy_protocol and trusted_proxies of a listener', () => {
  it('are read, unix sockets included', () => {
    const listener = listenerOf(
      'proxy_protocol = "require"\ntrusted_proxies = ["10.0.0.0/8", "2001:db8::1", "unix:"]',
    );
    expect(listener.proxyProtocol).toBe('require');
    expect(listener.trustedProxies).toEqual(['10.0.0.0/8', '2001:db8::1', 'unix:']);
    expect(listenerOf('').proxyProtocol).toBe('off');
  });

  it('demand each other for every kind of address', () => {
    expect(listenerMessages('proxy_protocol = "require"')).toEqual([
      expect.stringMatching(
        /^proxy\[0\]\.listener\.proxy_protocol: nobody could connect to 127\.0\.0\.1:6432/,
      ),
    ]);
    const unix = 'bind_address = ["unix:/tmp/s", "127.0.0.1:1"]\nproxy_protocol = "require"';
    expect(messagesOf(route(`${unix}\ntrusted_proxies = ["10.0.0.0/8"]`))).toEqual([
      expect.stringMatching(/trusted_proxies: nobody could connect to unix:\/tmp\/s: .*"unix:"/),
    ]);
    expect(load(route(`${unix}\ntrusted_proxies = ["10.0.0.0/8", "unix:"]`)).warnings).toHaveLength(
      0,
    );
  });

  it('refuse what is no CIDR, and a version', () => {
    const [problem] = listenerMessages(
      'proxy_protocol = "require"\ntrusted_proxies = ["lb.example"]',
    );
    expect(problem).toMatch(/trusted_proxies\[0\]: "lb.example" is no CIDR/);
    expect(listenerMessages('proxy_protocol = "v2"')).toEqual([
      expect.stringMatching(/"v2" is refused: a listener takes both versions/),
    ]);
  });

  it('warn of trusted proxies that are never asked', () => {
    const source = route('bind_address = "127.0.0.1:1"\ntrusted_proxies = "10.0.0.0/8"');
    expect(warningsOf(source)).toEqual([
      expect.stringMatching(/trusted_proxies: has no effect: proxy_protocol is "off"/),
    ]);
  });
});

describe('conn_rate_per_ip', () => {
  it('is a whole number', () => {
    expect(listenerOf('conn_rate_per_ip = 20').connRatePerIp).toBe(20);
    expect(listenerMessages('conn_rate_per_ip = -1')).toHaveLength(1);
  });
});

describe('proxy_protocol and application_name_add_host of a backend', () => {
  it('are off, and can be set', () => {
    expect(backendOf(BACKEND)).toMatchObject({
      proxyProtocol: 'off',
      applicationNameAddHost: false,
    });
    const set = `${BACKEND}\nproxy_protocol = "v2"\napplication_name_add_host = true`;
    expect(backendOf(set)).toMatchObject({ proxyProtocol: 'v2', applicationNameAddHost: true });
  });

  it('refuse connections made ahead, which have no client to tell of, with a reason', () => {
    const warm = `${BACKEND}\nproxy_protocol = "v2"\nwarm_connections = `;
    expect(backendMessages(`${warm}1`)).toEqual([
      expect.stringMatching(
        /backend\.proxy_protocol: is refused beside warm_connections: .*client/,
      ),
    ]);
    expect(backendMessages(`${warm}0`)).toEqual([]);
  });

  it('refuse what is for listeners, and version 1', () => {
    expect(backendMessages(`${BACKEND}\nproxy_protocol = "require"`)).toEqual([
      expect.stringMatching(/"require" is refused: it is for listeners/),
    ]);
    expect(backendMessages(`${BACKEND}\nproxy_protocol = "v1"`)).toHaveLength(1);
  });
});
