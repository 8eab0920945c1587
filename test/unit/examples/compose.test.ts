import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { configFromEnv } from 'hotpath';
import { describe, expect, test } from 'vitest';
import { jobSettingsFromEnv } from '../../../examples/products-api/jobs/settings.js';
import { settingsFromEnv } from '../../../examples/products-api/settings.js';
import { type PlainYaml, parsePlainYaml } from '../../helpers/plain-yaml.js';

const root = join(import.meta.dirname, '../../..');
const folder = join(root, 'examples/products-api');
const read = (file: string) => readFileSync(join(folder, file), 'utf8');

interface Service {
  image?: string;
  command?: string;
  build?: { context: string; dockerfile: string };
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: Record<string, string>;
}

const { services } = parsePlainYaml(read('docker-compose.yml')) as unknown as {
  services: Record<string, Service>;
};
const nginx = read('nginx.conf');
const dockerfile = read('Dockerfile');
const built = Object.entries(services).filter(([, { build }]) => build);
const instances = built.filter(([, { command }]) => !command);

describe('docker-compose.yml', () => {
  test('has PostgreSQL, two Redis servers, a worker and two identical instances behind nginx', () => {
    const names = ['postgres', 'redis', 'jobs-redis', 'a', 'b', 'worker', 'nginx'];
    expect(Object.keys(services)).toEqual(names);
    expect(services.a).toEqual(services.b);
    expect(instances).toHaveLength(2);
  });

  test('names only files that exist', () => {
    for (const [, { build, command = '' }] of built) {
      const [program] = / (examples\/\S+)$/.exec(command)?.slice(1) ?? [];
      if (program !== undefined) expect(existsSync(join(root, program))).toBe(true);
      const context = join(folder, build!.context);
      expect(context).toBe(root);
      expect(existsSync(join(context, build!.dockerfile))).toBe(true);
    }
    const [file, inside, mode] = services.nginx!.volumes![0]!.split(':');
    expect(existsSync(join(folder, file!))).toBe(true);
    expect([inside, mode]).toEqual(['/etc/nginx/conf.d/default.conf', 'ro']);
    const copied = [...dockerfile.matchAll(/^COPY (.+) \S+$/gm)].flatMap(([, files = '']) =>
      files.split(' '),
    );
    expect(copied).toContain('package-lock.json');
    for (const copy of copied) expect(existsSync(join(root, copy)), copy).toBe(true);
    const main = (JSON.parse(/^CMD (.+)$/m.exec(dockerfile)![1]!) as string[]).at(-1)!;
    expect(existsSync(join(root, main))).toBe(true);
  });

  test('gives the instances an environment that the example reads and that names the services', () => {
    const { environment } = services.a!;
    const known = `${read('settings.ts')}${read('jobs/settings.ts')}${readFileSync(join(root, 'src/environment.ts'), 'utf8')}`;
    for (const [, service] of built)
      for (const name of Object.keys(service.environment!)) expect(known).toContain(name);
    const { jobs } = settingsFromEnv(environment!);
    expect(jobs.redisUrl).toBe(environment!.JOBS_REDIS_URL);
    expect(jobSettingsFromEnv(services.worker!.environment!).redisUrl).toBe(jobs.redisUrl);
    expect(Object.keys(services)).toContain(new URL(jobs.redisUrl!).hostname);
    expect(settingsFromEnv(environment!)).toMatchObject({ port: 3000, trustProxy: 1 });
    const config = configFromEnv({}, environment);
    expect(config.cache).toEqual({ redis: { url: environment!.REDIS_URL } });
    expect(Object.keys(services)).toContain(new URL(environment!.REDIS_URL!).hostname);
    const database = new URL(environment!.DATABASE_URL!);
    expect(Object.keys(services)).toContain(database.hostname);
    expect(services.postgres!.environment).toEqual({
      POSTGRES_USER: database.username,
      POSTGRES_PASSWORD: database.password,
      POSTGRES_DB: database.pathname.slice(1),
    });
  });

  test('has nginx listen on the published port and call the instances on their ports', () => {
    const published = services.nginx!.ports!.map((ports) => ports.split(':')[1]);
    expect([...nginx.matchAll(/^ *listen (\d+);/gm)].map(([, port]) => port)).toEqual(published);
    const upstream = [...nginx.matchAll(/^ *server (\w+):(\d+);/gm)].map(([, name, port]) => [name, port]);
    expect(upstream).toEqual(instances.map(([name, { environment }]) => [name, environment!.PORT]));
    expect(dockerfile).toContain(`EXPOSE ${services.a!.environment!.PORT}`);
    // The app trusts its proxy, so the proxy must set all trusted fields.
    for (const name of ['For', 'Host', 'Proto'])
      expect(nginx).toContain(`proxy_set_header X-Forwarded-${name} $`);
  });

  test('waits only for the health of services with a health check', () => {
    for (const [, service] of Object.entries(services)) {
      for (const [name, { condition }] of Object.entries(service.depends_on ?? {})) {
        expect(Object.keys(services)).toContain(name);
        expect(['service_healthy', 'service_started']).toContain(condition);
        if (condition === 'service_healthy') expect(services[name]!.healthcheck?.test).toBeDefined();
      }
    }
  });

  test.each([
    ['a: [1, 2]'],
    ['a: {}'],
    ['a: &x 1'],
    ['a:\n  b: 1\n c: 2'],
    ['a: 1\na: 2'],
    ['a: b: c'],
    ['a:'],
    ['- a\nb: 1'],
    ["a: 'x'"],
    ['a: x # y'],
  ])('rejects YAML that is not plain: %j', (text) => {
    expect(() => parsePlainYaml(text)).toThrow(/line \d+/);
  });

  test('reads plain YAML', () => {
    const expected: PlainYaml = { a: { 'b-c': '1', d: ['x:y', '8080:80'] }, e: 'f "g" h' };
    expect(parsePlainYaml('# c\na:\n  b-c: 1\n  d:\n    - x:y\n    - "8080:80"\n\ne: f "g" h\n')).toEqual(
      expected,
    );
  });
});
