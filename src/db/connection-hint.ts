/** Certificates that were not issued by an authority which this process trusts. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
]);

const PAGE = '"The way to the database" in docs/operating.md';

/** Servers, poolers and managed services that take encrypted connections alone, each in its own words. */
const WANTS_TLS = /no encryption|SSL off|connection is insecure|(?:SSL|TLS)(?: connection)?(?: is)? required/i;

/** What to do about a connection that could not be made, in one line; null where nothing is known. */
export function connectionHint(error: Error): string | null {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (UNTRUSTED.has(code))
    return `The certificate of the server is of an authority that is not known here. If it is the database's: add sslmode=verify-full&sslrootcert=FILE to DATABASE_URL, FILE being the authority's certificate. See ${PAGE}.`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `The certificate of the server is for another name. If it is the database's: use in DATABASE_URL the name that the certificate has, or sslmode=verify-ca&uselibpqcompat=true&sslrootcert=FILE. See ${PAGE}.`;
  if (WANTS_TLS.test(error.message))
    return `The server takes encrypted connections alone: add sslmode=verify-full to DATABASE_URL, and sslrootcert=FILE if its authority is private. See ${PAGE}.`;
  if (error.message.includes('does not support SSL connections'))
    return 'Take sslmode out of DATABASE_URL, or set it to disable, if nobody can listen in on the way to the server.';
  if (
    code === 'ENOENT' &&
    'syscall' in error &&
    error.syscall === 'open' &&
    /\.(?:pem|crt|cer|key)'/.test(error.message)
  )
    return 'If sslrootcert, sslcert or sslkey in DATABASE_URL names it: that file is not there.';
  if (/unsupported startup parameter/.test(error.message))
    return 'A pooler is in the way and refuses options: take them out of DATABASE_URL and give them to its user (alter role … set …).';
  return null;
}
