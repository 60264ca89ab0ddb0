/**
 * Uploads files in pieces (tus 1.0.0), with pause and resume: `SecureUpload.mount(element, options)`, or in HTML
 * <secure-upload endpoint="/tus" apiKey="…" policy="…" signature="…">. What files and servers say is never markup.
 */

const DEFAULTS = {
	endpoint: "/tus", apiKey: "", policy: "", signature: "", path: "", container: "", location: "", access: "",
	accept: "", maxFiles: Infinity, maxSize: Infinity, partSize: 2 ** 23, minPart: 2 ** 18, concurrency: 2,
	retries: 8, retryDelay: 1000, stall: 60000, // ms; a request without progress for so long is given up
	remember: 1, // 0: nothing is kept in localStorage
	name: "", // of the hidden fields with handles
};

const TEXTS = {
	title: "Upload files", choose: "Choose files", hint: "or drop them here, or paste a picture", list: "Files",
	pause: "Pause", resume: "Resume", retry: "Try again", cancel: "Cancel", remove: "Remove", copy: "Copy handle",
	copied: "Handle copied", waiting: "Waiting", uploading: "Uploading", paused: "Paused",
	done: "Uploaded", retrying: "The connection broke, trying again", offline: "No connection, waiting for it",
	progress: "{sent} of {size}", pace: "{speed}/s · {left} left", total: "{done} of {all} uploaded",
	kind: "Files of this kind are not accepted.", big: "The file is larger than {most}.",
	many: "At most {most} files are accepted.", twice: "It is in the list already.",
	unreadable: "The file cannot be read any more.", network: "The server cannot be reached.",
	failed: "The upload failed ({code}).",
};

/** Why a step failed. In `more`, `again`: it may work later; `after`: milliseconds the server asks for. */
const fault = (code, more) => ({ code, ...more });

function refusal(xhr) {
	const { status } = xhr, wait = xhr.getResponseHeader("Retry-After") ?? 0;
	let said;
	try { said = JSON.parse(xhr.responseText).error; } catch { /* not ours */ }
	const again = status > 501 || [408, 409, 423, 429, 460, 500].includes(status), after = Math.min(3e5, 1000 * wait || 0);
	return fault(`${said?.code ?? status}`, { status, again, after, message: `${said?.message ?? ""}` });
}

/** One file on its way. Knows the protocol, nothing of the page; `changed` is called when it looks different. */
class Upload {
	state = "waiting";
	offset = 0; // bytes that the server has
	flying = 0; // bytes of the present request that have left
	turn = 0; // counts starts and stops: an older run sees that it is over

	constructor(file, options) {
		Object.assign(this, { file, options, part: options.partSize });
		const { name: filename, type: filetype, size, lastModified } = file;
		const { endpoint, apiKey, path, container, location: place, access } = options;
		const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
		this.about = Object.entries({ filename, filetype, path, container, location: place, access })
			.filter(([, value]) => value).map(([key, value]) => `${key} ${base64(value)}`).join();
		this.key = `secure-upload ${endpoint} ${apiKey} ${size} ${lastModified} ${this.about}`;
	}

	get busy() { return /uploading|retrying|offline/.test(this.state); }

	get sent() { return this.offset + this.flying; }

	/** The upload's address, kept across a reload, unless storage is full or switched off. */
	get url() {
		try { return this.address ?? localStorage[this.key]; } catch { return null; }
	}

	set url(url) {
		this.address = url;
		try {
			if (!url) delete localStorage[this.key];
			else if (this.options.remember) localStorage[this.key] = url;
		} catch { /* see above */ }
	}

	set(state) { this.changed(this.state = state); }

	stop(state) {
		this.turn++;
		this.xhr?.abort();
		this.wake?.();
		this.set(state);
	}

	cancel() {
		this.stop("cancelled");
		if (this.url) this.request("DELETE", this.url).catch(() => {}); // else it expires
		this.url = null;
	}

	async run() {
		const turn = ++this.turn, over = () => turn !== this.turn;
		this.known = false; // how far the server is must be asked
		this.failures = 0;
		while (!this.result) {
			this.set("uploading");
			try {
				await this.step();
			} catch (error) {
				if (!over()) this.fault = await this.judge(error);
				if (over()) return;
				if (!this.fault.again || ++this.failures > this.options.retries) return void this.set("failed");
				await this.wait();
			}
			if (over()) return;
		}
		this.url = null;
		this.set("done");
	}

	/** The next request: begin, ask, or send a part. */
	async step() {
		if (!this.url) return this.create();
		if (!this.known) return this.ask();
		const part = this.file.slice(this.offset, this.offset + this.part);
		const head = { "Upload-Offset": this.offset, "Content-Type": "application/offset+octet-stream" };
		this.take(await this.request("PATCH", this.url, head, part));
		this.failures = 0;
		this.part = Math.min(this.options.partSize, this.part * 2);
	}

	async create() {
		const { endpoint, apiKey, policy, signature } = this.options;
		const query = policy && `?${new URLSearchParams({ policy, signature })}`;
		const xhr = await this.request("POST", `${endpoint}/${apiKey}${query}`, {
			"Upload-Length": this.file.size, "Upload-Metadata": this.about,
		});
		this.url = new URL(xhr.getResponseHeader("Location"), xhr.responseURL).href;
		this.take(xhr, true);
	}

	async ask() {
		try {
			this.take(await this.request("HEAD", this.url), true);
		} catch (error) {
			if (![403, 404, 410].includes(error.status)) throw error;
			this.url = null; // it expired: begin anew
		}
	}

	take(xhr, first) {
		const handle = xhr.getResponseHeader("Filestack-Handle"), url = xhr.getResponseHeader("Filestack-Url");
		Object.assign(this, { flying: 0, known: true, offset: Number(xhr.getResponseHeader("Upload-Offset")) });
		if (first) Object.assign(this, { from: this.offset, began: performance.now() });
		if (handle) this.result = { handle, url, file: this.file };
		else if (!first && this.sent === this.file.size) throw fault("unfinished", { again: true });
	}

	/** What a failure means for the next try. */
	async judge(error) {
		this.flying = 0;
		this.known = false;
		if (error.status !== 423) this.part = Math.max(Math.min(this.part, this.options.minPart), this.part >> 1);
		if (error.code !== "network") return error.code ? error : fault(error.message);
		return this.file.slice(this.offset, this.offset + 1).arrayBuffer().then(() => error, () => fault("unreadable"));
	}

	/** Until it is time, or the connection is back. */
	wait() {
		const { code, after = 0 } = this.fault, offline = code === "network" && !navigator.onLine;
		return new Promise((resolve) => {
			this.wake = resolve;
			if (!offline) setTimeout(resolve, Math.max(after, Math.min(3e4, this.options.retryDelay * 2 ** this.failures / 2)));
			addEventListener("online", resolve, { once: true });
			this.set(offline ? "offline" : "retrying");
		});
	}

	request(method, url, head, body) {
		return new Promise((resolve, reject) => {
			const xhr = this.xhr = new XMLHttpRequest();
			let timer;
			const wait = (stalls) => {
				clearTimeout(timer);
				timer = setTimeout(() => xhr.abort(), stalls * this.options.stall);
			};
			xhr.open(method, url);
			for (const entry of Object.entries({ "Tus-Resumable": "1.0.0", ...this.options.headers, ...head })) xhr.setRequestHeader(...entry);
			xhr.upload.onprogress = ({ loaded }) => {
				wait(1);
				this.flying = loaded;
				this.changed();
			};
			xhr.upload.onload = () => wait(10); // all is sent; storing it may take its time
			xhr.onload = () => (xhr.status < 300 ? resolve(xhr) : reject(refusal(xhr)));
			xhr.onerror = xhr.onabort = () => reject(fault("network", { again: true }));
			xhr.onloadend = () => clearTimeout(timer);
			wait(1);
			xhr.send(body);
		});
	}
}

const make = (tag, properties, ...children) => {
	const element = Object.assign(document.createElement(tag), properties);
	element.append(...children);
	return element;
};

/** The widget in a page. All that it says is in `SecureUpload.texts` and `options.texts`. */
export class SecureUpload {
	static texts = TEXTS;

	static mount(element, options) { return new SecureUpload(element, options); }

	uploads = [];

	constructor(element, options) {
		Object.assign(this, { element, options: { ...DEFAULTS, ...options } });
		this.texts = { ...SecureUpload.texts, ...this.options.texts };
		this.build();
		this.listen();
	}

	say(key, values) { return (this.texts[key] ?? "").replace(/\{(\w+)\}/g, (_, name) => values[name]); }

	bytes(count) {
		const power = Math.min(4, Math.floor(Math.log10(count || 1) / 3)), value = (count / 1000 ** power).toPrecision(3);
		return `${Number(value).toLocaleString()} ${["B", "kB", "MB", "GB", "TB"][power]}`;
	}

	build() {
		const { accept, maxFiles } = this.options, multiple = maxFiles > 1;
		const picker = make("input", { type: "file", hidden: true, accept, multiple });
		picker.onchange = () => {
			this.add(picker.files);
			picker.value = ""; // the same file may come again
		};
		this.button = make("button", { type: "button", textContent: this.say("choose"), onclick: () => picker.click() });
		this.status = make("p", { role: "status" });
		this.list = make("ul", { role: "list", ariaLabel: this.say("list"), hidden: true });
		const hint = make("span", { textContent: this.say("hint") });
		const zone = make("div", { className: "su-zone" }, this.button, hint, picker);
		const group = { className: "su", role: "group", ariaLabel: this.say("title") };
		this.element.replaceChildren(make("div", group, zone, this.status, this.list));
	}

	listen() {
		const { element } = this;
		for (const name of ["dragover", "dragleave", "drop"]) {
			element.addEventListener(name, (event) => {
				if (!event.dataTransfer.types.includes("Files")) return;
				event.preventDefault();
				element.toggleAttribute("data-over", name === "dragover" || element.contains(event.relatedTarget));
				if (name === "drop") this.add(event.dataTransfer.files);
			});
		}
		document.addEventListener("paste", (event) => {
			const { files } = event.clipboardData;
			if (!files.length || event.defaultPrevented || !element.isConnected) return;
			event.preventDefault();
			this.add(files);
		});
	}

	accepts({ name, type }) {
		const wanted = this.options.accept.toLowerCase().split(/[\s,]+/).filter(Boolean);
		return !wanted.length || wanted.some((one) => (one[0] === "." ? name.toLowerCase().endsWith(one)
			: `${type}/`.startsWith(one.split("*")[0])));
	}

	/** Takes files, as if they had been chosen. */
	add(files) {
		const { maxFiles: most, maxSize } = this.options;
		for (const file of files) {
			const upload = new Upload(file, this.options), others = this.uploads.filter(({ state }) => state !== "failed");
			const why = others.some(({ key }) => key === upload.key) ? "twice" : others.length >= most && "many";
			if (why) this.announce(file, this.say(why, { most }));
			else {
				this.uploads.push(upload);
				this.row(upload);
				upload.final = !this.accepts(file) ? "kind" : file.size > maxSize && "big";
				upload.fault = fault(upload.final);
				upload.set(upload.final ? "failed" : "waiting");
			}
		}
	}

	row(upload) {
		const { name, size, type } = upload.file, button = (onclick) => make("button", { type: "button", onclick });
		const picture = make("span", { className: "su-picture", textContent: name.split(".").pop().slice(0, 4) });
		const bar = make("progress", { max: size || 1, value: 0, ariaLabel: name });
		const detail = make("span"), link = make("a", { target: "_blank", rel: "noreferrer" });
		const field = make("input", { type: "hidden", name: this.options.name, disabled: true });
		const toggle = button(() => (/paused|failed/.test(upload.state) ? upload.set("waiting") : upload.stop("paused")));
		const copy = button(() => this.copy(upload)), drop = button(() => this.drop(upload));
		const text = make("div", { className: "su-text" }, make("bdi", { textContent: name }), bar, detail, link);
		const buttons = make("div", { className: "su-buttons" }, toggle, copy, drop);
		const item = make("li", {}, picture, text, buttons, field);
		upload.row = { item, bar, detail, link, field, toggle, copy, drop };
		upload.changed = () => this.show(upload);
		this.list.append(item);
		this.list.hidden = false;
		if (!type.startsWith("image/") || size > 32e6) return;
		createImageBitmap(upload.file, { resizeHeight: 112 }).then((image) => {
			const { width, height } = image, canvas = make("canvas", { width, height });
			canvas.getContext("2d").drawImage(image, 0, 0);
			picture.replaceChildren(canvas);
		}, () => {}); // no picture
	}

	show(upload) {
		const { state, result, file, final, row: { item, bar, detail, link, field, toggle, copy, drop } } = upload;
		bar.value = result ? bar.max : upload.sent;
		detail.textContent = this.detail(upload);
		if (item.dataset.state === state) return;
		item.dataset.state = state;
		bar.hidden = result || final;
		const label = (element, key) => {
			if (!key && element === document.activeElement) drop.focus();
			element.hidden = !key;
			element.textContent = this.say(key);
			element.ariaLabel = `${this.say(key)}: ${file.name}`;
		};
		label(toggle, { paused: "resume", done: "", failed: final ? "" : "retry" }[state] ?? "pause");
		label(drop, result || state === "failed" ? "remove" : "cancel");
		label(copy, result && "copy");
		if (result) {
			link.textContent = field.value = result.handle;
			if (/^https?:/.test(result.url)) link.href = result.url;
			field.disabled = !this.options.name;
			this.tell("Done", result);
		}
		const message = state === "failed" ? this.detail(upload) : this.say(state);
		if (state === "failed") this.tell("Error", { code: upload.fault.code, message, file });
		if (message && state !== "waiting") this.announce(file, message);
		this.next();
	}

	/** Starts what waits, if there is room. */
	next() {
		const free = this.options.concurrency - this.uploads.filter(({ busy }) => busy).length;
		if (free > 0) this.uploads.find(({ state }) => state === "waiting")?.run(); // and come here again
	}

	detail({ state, fault: why, from, began, sent, file: { size } }) {
		const speed = (1000 * (sent - from)) / (performance.now() - began), left = Math.ceil((size - sent) / speed);
		const values = { code: why?.code, left: `${Math.floor(left / 60)}:${`${left % 60}`.padStart(2, 0)}` };
		for (const [key, count] of Object.entries({ sent, size, speed, most: this.options.maxSize })) {
			values[key] = this.bytes(count);
		}
		if (state === "failed") return this.say(why.code, values) || why.message || this.say(state, values);
		const keys = [state, "progress", state === "uploading" && left < 1e6 && "pace"];
		return keys.map((key) => this.say(key, values)).filter(Boolean).join(" · ");
	}

	announce({ name }, what) {
		const done = this.uploads.filter(({ result }) => result).length;
		const total = done && ` · ${this.say("total", { done, all: this.uploads.length })}`;
		this.status.textContent = `${name}: ${what}${total || ""}`;
	}

	tell(what, detail) {
		this.element.dispatchEvent(new CustomEvent(`upload:${what.toLowerCase()}`, { bubbles: true, detail }));
		this.options[`on${what}`]?.(detail);
	}

	copy({ file, row: { link } }) {
		getSelection().selectAllChildren(link);
		document.execCommand("copy"); // old, but it works on plain HTTP
		this.announce(file, this.say("copied"));
	}

	drop(upload) {
		const { item } = upload.row, near = item.nextSibling ?? item.previousSibling;
		if (!upload.result) upload.cancel();
		this.uploads = this.uploads.filter((other) => other !== upload);
		item.remove();
		this.list.hidden = !near;
		(near?.querySelector("button:not([hidden])") ?? this.button).focus();
	}
}

setTimeout(() => customElements.define("secure-upload", class extends HTMLElement {
	/** `from-address`: on the page /upload/{key}, whose query has the policy and other options. */
	connectedCallback() {
		const own = this.hasAttribute("from-address"), options = {};
		const query = new URLSearchParams(own ? location.search.replaceAll("+", "%2B") : ""); // a plus is no blank here
		for (const [name, standard] of Object.entries(DEFAULTS)) {
			const value = this.getAttribute(name) ?? query.get(name);
			if (value !== null) options[name] = typeof standard === "number" ? Number(value) : value;
		}
		if (own) Object.assign(options, { endpoint: "../tus", apiKey: location.pathname.split("/").pop() });
		this.widget ??= SecureUpload.mount(this, options);
	}
}));
