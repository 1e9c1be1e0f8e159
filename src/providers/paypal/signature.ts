import { verify as verifySignature } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { checkSecrets, refused, singleHeader } from '../../crypto/signature.ts';
import type { Delivery, Verification } from '../shared/provider.ts';
import type { PaypalCertificates } from './certificate.ts';

const ALGORITHMS: ReadonlyMap<string, string> = new Map([['SHA256withRSA', 'RSA-SHA256']]);
const TRANSMISSION_ID = /^\w[\w-]{0,99}$/;
const TRANSMISSION_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/;

/**
 * PayPal sets no limit itself and tries again for three days, perhaps with the first try's time. Older ones are refused,
 * because the signature covers but a CRC-32 of the body: to whoever has seen one signed delivery, it is no trouble to
 * find another body with the same one.
 */
const OLDEST_MS = 4 * 24 * 3_600_000;
const FUTURE_MS = 300_000;

/**
 * Checks PayPal's signature over the id and the time of the transmission, the webhook's id (the source's secret) and the
 * CRC-32 of the bytes. `unavailable` if PayPal's certificate could not be had.
 */
export async function verifyTransmission(
  { rawBody, headers }: Delivery,
  secrets: readonly string[],
  now: Date,
  certificates: PaypalCertificates,
): Promise<Verification> {
  const header = (name: string) => singleHeader(headers, `paypal-${name}`);
  const [id, time, encoded, url] = ['transmission-id', 'transmission-time', 'transmission-sig', 'cert-url'].map(header);
  const algorithm = ALGORITHMS.get(header('auth-algo') ?? '');
  if (!id || !time || !encoded || !url) return refused('a paypal header is missing or repeated');
  if (algorithm === undefined) return refused('the algorithm is not one that PayPal uses');
  // A bar parts what is signed, so none of the parts may have one.
  if (!TRANSMISSION_ID.test(id)) return refused('the transmission id is malformed');
  if (!TRANSMISSION_TIME.test(time)) return refused('the transmission time is malformed');
  const ageMs = now.getTime() - Date.parse(time);
  if (!(ageMs <= OLDEST_MS)) return refused('the transmission time is too old');
  if (ageMs < -FUTURE_MS) return refused('the transmission time is in the future');
  const signature = Buffer.from(encoded, 'base64');
  if (signature.toString('base64') !== encoded) return refused('the signature is not base64');
  const found = await certificates.get(url, now);
  if (!found.ok) return found;
  const { publicKey } = found.certificate;
  return checkSecrets(secrets, (webhookId) => {
    const signed = Buffer.from(`${id}|${time}|${webhookId}|${crc32(rawBody)}`);
    return verifySignature(algorithm, signed, publicKey, signature);
  });
}
