import { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';

/*
 * PayPal signs with a certificate that it names in a header. Whoever sends a delivery writes that header, so the address
 * must be one of PayPal's own, and the certificate one that a public authority issued to PayPal's messaging: then it
 * does not matter who sent the header.
 */

/** Live and sandbox. The id of the webhook, which is signed, keeps the two apart. */
const CERTIFICATE_URL =
  /^https:\/\/(?:api|api-m)(?:\.sandbox)?\.paypal\.com\/v1\/notifications\/certs\/[A-Za-z0-9_-]{1,100}$/;
const SUBJECTS = ['messageverificationcerts.paypal.com', 'messageverificationcerts.sandbox.paypal.com'];

const FETCH_TIMEOUT_MS = 3_000;
/** A chain is some kilobytes. */
const MAX_BYTES = 65_536;
/** PayPal's own, up to its authority, and one to spare. */
const MAX_CHAIN_LENGTH = 5;
const MIN_RSA_BITS = 2048;
/** PayPal uses one certificate for months, in each of its environments. */
const MAX_CACHED = 16;
/** Bounds what deliveries with made-up addresses can make us ask of PayPal at once. */
const MAX_FETCHES = 4;
/** An older one is fetched anew beside the requests that use it … */
const REFRESH_AFTER_MS = 24 * 3_600_000;
/** … and no longer used if that did not succeed for so long. */
const FORGET_AFTER_MS = 7 * 24 * 3_600_000;

export type CertificateResult =
  | { readonly ok: true; readonly certificate: X509Certificate }
  | { readonly ok: false; readonly reason: string; readonly unavailable?: true };

export interface CertificateOptions {
  /** Gets the text at an address. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** The authorities trusted, in PEM; Mozilla's, as they come with Node, if not given. */
  readonly trustedRoots?: readonly string[];
}

interface Cached {
  readonly certificate: X509Certificate;
  readonly fetchedAt: Date;
}

/** PayPal's certificates, each fetched once and then at hand. */
export class PaypalCertificates {
  readonly #fetch: NonNullable<CertificateOptions['fetch']>;
  readonly #trustedRoots: readonly string[];
  #roots: readonly X509Certificate[] | null = null;
  readonly #cached = new Map<string, Cached>();
  readonly #inFlight = new Map<string, Promise<CertificateResult>>();

  constructor(options: CertificateOptions = {}) {
    this.#fetch = options.fetch ?? ((url, init) => fetch(url, init));
    this.#trustedRoots = options.trustedRoots ?? rootCertificates;
  }

  /**
   * The certificate at `url`, if it is PayPal's and valid at `now`. Concurrent requests share one fetch. Never throws:
   * what could not be fetched is `unavailable`, and may be there the next time.
   */
  async get(url: string, now: Date): Promise<CertificateResult> {
    if (!CERTIFICATE_URL.test(url)) return { ok: false, reason: "the certificate's address is not one of PayPal's" };
    const cached = this.#cached.get(url);
    const ageMs = cached === undefined ? Number.POSITIVE_INFINITY : now.getTime() - cached.fetchedAt.getTime();
    if (cached === undefined || ageMs > FORGET_AFTER_MS) return this.#fetchOnce(url, now);
    if (ageMs > REFRESH_AFTER_MS) void this.#fetchOnce(url, now);
    if (!isValidAt(cached.certificate, now)) return { ok: false, reason: 'the certificate is not valid at this time' };
    return { ok: true, certificate: cached.certificate };
  }

  #fetchOnce(url: string, now: Date): Promise<CertificateResult> {
    const shared = this.#inFlight.get(url);
    if (shared !== undefined) return shared;
    if (this.#inFlight.size >= MAX_FETCHES) {
      return Promise.resolve({ ok: false, reason: 'too many certificates are being fetched', unavailable: true });
    }
    const fetching = this.#fetchNow(url, now).finally(() => this.#inFlight.delete(url));
    this.#inFlight.set(url, fetching);
    return fetching;
  }

  async #fetchNow(url: string, now: Date): Promise<CertificateResult> {
    const chain = await this.#download(url);
    if (chain === null) return { ok: false, reason: 'the certificate could not be fetched', unavailable: true };
    this.#roots ??= this.#trustedRoots.map((pem) => new X509Certificate(pem));
    const result = checkChain(chain, this.#roots, now);
    // Only what is trusted is kept, so made-up addresses cannot crowd out the true ones.
    if (result.ok) this.#keep(url, { certificate: result.certificate, fetchedAt: now });
    return result;
  }

  #keep(url: string, entry: Cached): void {
    this.#cached.delete(url);
    this.#cached.set(url, entry);
    const [oldest] = this.#cached.keys();
    if (this.#cached.size > MAX_CACHED && oldest !== undefined) this.#cached.delete(oldest);
  }

  async #download(url: string): Promise<string | null> {
    try {
      const response = await this.#fetch(url, { redirect: 'error', signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
      if (!response.ok || response.body === null) {
        await response.body?.cancel();
        return null;
      }
      const chunks: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of response.body) {
        length += chunk.length;
        if (length > MAX_BYTES) return null;
        chunks.push(chunk);
      }
      return Buffer.concat(chunks).toString('latin1');
    } catch {
      return null;
    }
  }
}

/**
 * Reads a file of certificates, PayPal's own first and then those it was issued by, and follows them up to a trusted
 * authority at `now`.
 */
export function checkChain(pem: string, roots: readonly X509Certificate[], now: Date): CertificateResult {
  try {
    const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    if (blocks.length > MAX_CHAIN_LENGTH) return { ok: false, reason: 'the chain of certificates is too long' };
    const [certificate, ...intermediates] = blocks.map((block) => new X509Certificate(block));
    if (certificate === undefined) return { ok: false, reason: 'there is no certificate at the address' };
    if (!isOfPaypal(certificate)) return { ok: false, reason: "the certificate is not of PayPal's messaging" };
    const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey;
    if (asymmetricKeyType !== 'rsa' || (asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS) {
      return { ok: false, reason: "the certificate's key is not RSA, or is too short" };
    }
    if (!isValidAt(certificate, now)) return { ok: false, reason: 'the certificate is not valid at this time' };
    if (reachesRoot(certificate, intermediates, roots, now)) return { ok: true, certificate };
    return { ok: false, reason: 'the certificate is not issued by an authority that is trusted now' };
  } catch {
    return { ok: false, reason: 'the certificate cannot be read' };
  }
}

function isOfPaypal(certificate: X509Certificate): boolean {
  return SUBJECTS.some((name) => certificate.checkHost(name, { subject: 'always', wildcards: false }) === name);
}

function reachesRoot(
  certificate: X509Certificate,
  intermediates: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  now: Date,
): boolean {
  if (!isValidAt(certificate, now)) return false;
  if (roots.some((root) => isValidAt(root, now) && isIssuedBy(certificate, root))) return true;
  return intermediates.some((issuer) => {
    const others = intermediates.filter((other) => other !== issuer);
    return isIssuedBy(certificate, issuer) && reachesRoot(issuer, others, roots, now);
  });
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function isValidAt(certificate: X509Certificate, now: Date): boolean {
  return certificate.validFromDate <= now && now <= certificate.validToDate;
}
