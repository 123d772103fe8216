-- SPDX-License-Identifier: Apache-2.0

-- A service that makes code at run time: LuaJIT, which talks to the kernel through its FFI, C
-- callbacks included. /do?what=NAME does a deed.
local ffi = require("ffi")
local jit = require("jit")

ffi.cdef [[
int socket(int, int, int);
int bind(int, const void *, unsigned);
int listen(int, int);
int accept4(int, void *, void *, int);
int setsockopt(int, int, int, const void *, unsigned);
long recv(int, void *, unsigned long, int);
long send(int, const void *, unsigned long, int);
int close(int);
void qsort(void *, unsigned long, unsigned long, int (*)(const int *, const int *));
struct in4 { unsigned short family, port; unsigned address; char zero[8]; };
]]
local C = ffi.C

local deeds = {}

deeds["compiled-loops"] = function()
	local sum = 0
	for i = 1, 2e7 do sum = (sum + i * 3) % 1000003 end
	assert(jit.status(), "the compiler is off")
	return sum
end

deeds["many-traces"] = function()
	for n = 1, 200 do
		local f = assert(loadstring("local s = 0 for i = 1, 300 do s = s + i % " .. n ..
			" end return s"))
		f()
	end
	jit.flush()
end

deeds["callbacks-of-c"] = function()
	local list = ffi.new("int[4]", { 4, 2, 3, 1 })
	local compare = ffi.cast("int (*)(const int *, const int *)",
		function(a, b) return a[0] - b[0] end)
	C.qsort(list, 4, 4, compare)
	compare:free()
	assert(list[0] == 1 and list[3] == 4, "not sorted")
end

local function answer(line)
	local what = line:match("^GET /do%?what=([%w-]+)")
	if line:match("^GET /list") then
		local names = {}
		for name in pairs(deeds) do names[#names + 1] = name end
		return 200, table.concat(names, "\n")
	elseif not what then
		return 200, "ok"
	elseif not deeds[what] then
		return 404, "no such deed"
	end
	local good, why = pcall(deeds[what])
	return good and 200 or 500, good and "did " .. what or what .. ": " .. tostring(why)
end

local server = C.socket(2, 1, 0)
C.setsockopt(server, 1, 2, ffi.new("int[1]", 1), 4)
local any = ffi.new("struct in4", { family = 2, port = 0x901f }) -- 8080, the other way round
assert(C.bind(server, any, 16) == 0 and C.listen(server, 256) == 0, "cannot listen")
local buffer = ffi.new("char[2048]")
while true do
	local client = C.accept4(server, nil, nil, 0)
	local got = client >= 0 and C.recv(client, buffer, 2048, 0) or 0
	if got > 0 then
		local status, text = answer(ffi.string(buffer, got))
		local whole = ("HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n")
			:format(status, #text + 1, text)
		C.send(client, whole, #whole, 0x4000)
	end
	if client >= 0 then C.close(client) end
end
