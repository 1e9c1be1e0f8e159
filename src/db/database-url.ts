import { OWN_SETTINGS } from './session-settings.ts';

/** What a URL may say of the way to the server. All else in it changes nothing, or is what the code says itself. */
const WAY: ReadonlySet<string> = new Set([
  ...['host', 'port', 'user', 'password', 'options'],
  ...['ssl', 'sslmode', 'sslcert', 'sslkey', 'sslrootcert', 'sslnegotiation', 'uselibpqcompat', 'enableChannelBinding'],
]);

/** The driver verifies the certificate by all of these, and warns that it may not go on so; said by one that will. */
const VERIFYING: ReadonlySet<string> = new Set(['allow', 'prefer', 'require', 'verify-ca']);

/**
 * The URL as the driver gets it, which lets parameters of a URL win over the code: those that would undo a bound, a name or a form are
 * left out, and so are settings of ours among its `options`. What is left of them holds.
 */
export function connectionString(databaseUrl: string): string {
  if (!URL.canParse(databaseUrl)) return databaseUrl;
  const url = new URL(databaseUrl);
  for (const name of [...url.searchParams.keys()]) if (!WAY.has(name)) url.searchParams.delete(name);
  const mode = url.searchParams.get('sslmode') ?? '';
  if (VERIFYING.has(mode) && url.searchParams.get('uselibpqcompat') !== 'true')
    url.searchParams.set('sslmode', 'verify-full');
  const options = withoutOwn(url.searchParams.get('options') ?? '');
  if (options === '') url.searchParams.delete('options');
  else url.searchParams.set('options', options);
  // The driver reads %20, and takes + for itself.
  url.search = url.search.replaceAll('+', '%20');
  return url.href;
}

/** `-c name=value`, `-cname=value` or `--name=value`, as Postgres reads them; other words are somebody else's, such as a proxy's. */
function withoutOwn(options: string): string {
  const words = options.match(/(?:\\.|[^\s\\])+/gs) ?? [];
  const kept: string[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const isPair = word === '-c' && at + 1 < words.length;
    const setting = isPair ? (words[at + 1] ?? '') : word;
    if (isPair) at += 1;
    if (!OWN_SETTINGS.has(nameOf(setting))) kept.push(isPair ? `-c ${setting}` : word);
  }
  return kept.join(' ');
}

function nameOf(setting: string): string {
  const [name = ''] = setting.replace(/^(?:--|-c)/, '').split('=', 1);
  return name.replaceAll('-', '_').toLowerCase();
}
