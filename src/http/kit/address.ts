import type { IncomingMessage } from 'node:http';
import ipaddr from 'ipaddr.js';

/** What one customer of a network provider has at least, and so may call from at will. */
const IPV6_NETWORK_BYTES = 7;

/** The bytes of an address as far as they tell callers apart: all of IPv4's, of IPv6's those of its network. */
export function networkOf(address: string): Buffer {
  if (!ipaddr.isValid(address)) return Buffer.from(address);
  const parsed = ipaddr.process(address);
  const bytes = Buffer.from(parsed.toByteArray());
  return parsed.kind() === 'ipv6' ? bytes.subarray(0, IPV6_NETWORK_BYTES) : bytes;
}

/** The same as a text by which limits count. */
export function networkName(address: string): string {
  // By far the most addresses, and each is its own network.
  if (/^[\d.]+$/.test(address)) return address;
  const bytes = networkOf(address);
  return bytes.length === 4 ? bytes.join('.') : `${bytes.toString('hex')}/${bytes.length * 8}`;
}

/**
 * The address that `proxies` proxies in front of us say a request comes from, as Express counts them: each adds whom it
 * heard to the end of X-Forwarded-For. Fewer in it: the first of them.
 */
export function forwardedAddress({ headers, socket }: IncomingMessage, proxies: number): string {
  if (proxies === 0) return socket.remoteAddress ?? '';
  const header = headers['x-forwarded-for'];
  const text = typeof header === 'string' ? header : '';
  const heard = [...text.split(',').flatMap((part) => part.trim() || []), socket.remoteAddress ?? ''];
  return heard[Math.max(0, heard.length - 1 - proxies)] ?? '';
}
