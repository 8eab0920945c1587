import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from './http.js';
import { freePort } from './port.js';
import { installDebianPackage } from './system-packages.js';

const PLACES = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx'];

/** An nginx in front of an app. */
export interface Nginx {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Starts nginx as people set it up first, with a bare `proxy_pass`. The app sees HTTP/1.0 from 127.0.0.1, for a `Host`
 * that is its own address. The same app is below `/shop/` too, without the prefix.
 */
export async function startNginx(appPort: number): Promise<Nginx> {
  const file = await findNginx();
  const folder = mkdtempSync(join(tmpdir(), 'nginx-'));
  const port = await freePort();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = `
    daemon off; master_process off; pid ${folder}/pid; error_log stderr crit;
    events {}
    http {
      access_log off;
      ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
      server {
        listen 127.0.0.1:${port};
        location / { proxy_pass http://127.0.0.1:${appPort}; }
        location /shop/ { proxy_pass http://127.0.0.1:${appPort}/; }
      }
    }`;
  writeFileSync(join(folder, 'nginx.conf'), config);
  const child = spawn(file, ['-p', folder, '-c', join(folder, 'nginx.conf')], { stdio: 'inherit' });
  const exited = once(child, 'exit');
  await waitFor(() => child.exitCode !== null || accepts(port));
  if (child.exitCode !== null) throw new Error(`nginx ended with ${child.exitCode}`);
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      child.kill('SIGTERM');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const settle = (accepted: boolean) => () => {
      socket.destroy();
      resolve(accepted);
    };
    socket.once('connect', settle(true));
    socket.once('error', settle(false));
  });
}

async function findNginx(): Promise<string> {
  const find = () => PLACES.find(isExecutable);
  const found = find();
  if (found !== undefined) return found;
  await installDebianPackage('nginx-light', 'A test behind a proxy');
  const installed = find();
  if (installed === undefined) throw new Error(`nginx was installed, but is in none of ${PLACES.join(', ')}`);
  return installed;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
