// Tells one event of Zabbix's by HTTP, in the shape that the receiver wants. Zabbix runs it as the body of a function that
// has `value`, the media type's parameters as JSON, and tries again when it throws. docs/monitoring.md has the payloads.
var SEVERITIES = ['not classified', 'information', 'warning', 'average', 'high', 'disaster'];
var SIGNS = {problem: '🔴', resolved: '🟢', update: '💬'};
var COLOURS = {problem: '#e45959', resolved: '#59db8f', update: '#7499ff'};
// What a chat shows of one text, at most: WeCom takes 4096 bytes altogether, and a Chinese sign has three.
var LONGEST = 400;

// A macro that has no value at such an event stays as it is written, {EVENT.UPDATE.MESSAGE} for example.
function known(text) {
    return /^\{[A-Z$][^}]*\}$/.test(text) || text === '*UNKNOWN*' ? '' : text;
}

// Zabbix tells a date with dots and a time, both in the zone of whom it tells: our user's is UTC.
function instant(date, time) {
    return known(date) && date.replace(/\./g, '-') + 'T' + time + 'Z';
}

function tags(text) {
    try {
        return JSON.parse(text);
    } catch (error) {
        return [];
    }
}

function eventOf(given) {
    var status = given.value === '0' ? 'resolved' : given.update === '1' ? 'update' : 'problem';
    var since = instant(given.since_date, given.since_time);
    var now = {
        problem: since,
        resolved: instant(given.resolved_date, given.resolved_time),
        update: instant(given.updated_date, given.updated_time)
    };
    var event = {
        event_id: given.event_id,
        status: status,
        severity: SEVERITIES[given.severity] || SEVERITIES[0],
        name: given.name,
        host: given.host,
        opdata: known(given.opdata),
        time: now[status] || since,
        since: since,
        tags: tags(given.tags),
        url: given.pages + '/tr_events.php?triggerid=' + given.trigger_id + '&eventid=' + given.event_id
    };
    if (status === 'update') {
        event.message = known(given.message);
        event.action = known(given.action);
        event.user = known(given.user);
    }
    return event;
}

function short(text) {
    return text.length > LONGEST ? text.slice(0, LONGEST - 1) + '…' : text;
}

function titleOf(event) {
    return SIGNS[event.status] + ' ' + (event.status === 'problem' ? '' : event.status + ': ') + short(event.name);
}

// Neither chat knows a way to escape: what would be markdown is written as the full-width sign that looks like it.
function plain(text) {
    return text.replace(/\s+/g, ' ').replace(/[\[\]()<>*_`]/g, function (sign) {
        return String.fromCharCode(sign.charCodeAt(0) + 0xfee0);
    });
}

function linesOf(event) {
    var lines = [event.host + ' · ' + event.severity + ' · ' + event.time];
    if (event.opdata) {
        lines.push(short(event.opdata));
    }
    if (event.status === 'update') {
        lines.push([event.user, event.action].filter(Boolean).join(' '));
        lines.push(short(event.message));
    }
    return lines.filter(Boolean);
}

var BODIES = {
    generic: function (event) {
        return event;
    },
    dingtalk: function (event) {
        var lines = ['### ' + plain(titleOf(event))].concat(linesOf(event).map(plain), '[Zabbix](' + event.url + ')');
        return {msgtype: 'markdown', markdown: {title: titleOf(event), text: lines.join('\n\n')}};
    },
    wecom: function (event) {
        var quoted = linesOf(event).map(function (line) {
            return '> ' + plain(line);
        });
        return {
            msgtype: 'markdown',
            markdown: {
                content: ['**' + plain(titleOf(event)) + '**'].concat(quoted, '[Zabbix](' + event.url + ')').join('\n')
            }
        };
    },
    slack: function (event) {
        // Slack wants these three signs so, and no others.
        function escaped(text) {
            return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
        }
        var text = linesOf(event).map(escaped).concat('<' + event.url + '|Zabbix>').join('\n');
        var block = {type: 'section', text: {type: 'mrkdwn', text: text}};
        return {text: escaped(titleOf(event)), attachments: [{color: COLOURS[event.status], blocks: [block]}]};
    }
};

// hmac() tells hexadecimal digits; btoa() would take the bytes above 127 for text.
function base64(hexadecimal) {
    var signs = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
    var bits = '';
    var text = '';
    for (var i = 0; i < hexadecimal.length; i++) {
        bits += ('000' + parseInt(hexadecimal[i], 16).toString(2)).slice(-4);
    }
    for (var j = 0; j < bits.length; j += 6) {
        text += signs[parseInt((bits.slice(j, j + 6) + '00000').slice(0, 6), 2)];
    }
    return text + ['', '===', '==', '='][text.length % 4];
}

// https://open.dingtalk.com/document/robots/customize-robot-security-settings
function signed(url, secret) {
    var now = String(Date.now());
    var sign = encodeURIComponent(base64(hmac('sha256', secret, now + '\n' + secret)));
    return url + (url.indexOf('?') < 0 ? '?' : '&') + 'timestamp=' + now + '&sign=' + sign;
}

function told(given) {
    var url = known(given.url);
    var secret = known(given.secret);
    if (!url) {
        throw 'the webhook has no address: run `sharemesh zabbix provision --webhook URL` again';
    }
    var request = new HttpRequest();
    request.addHeader('Content-Type: application/json; charset=utf-8');
    var body = JSON.stringify(BODIES[given.shape](eventOf(given)));
    var answer = request.post(given.shape === 'dingtalk' && secret ? signed(url, secret) : url, body);
    var status = request.getStatus();
    if (status < 200 || status >= 300) {
        throw 'the webhook answered ' + status + ': ' + short(String(answer));
    }
    if (given.shape === 'dingtalk' || given.shape === 'wecom') {
        refuseComplaint(answer);
    }
}

// Both answer 200 to what they do not take.
function refuseComplaint(answer) {
    var code;
    try {
        code = JSON.parse(answer).errcode;
    } catch (error) {
        code = 'no JSON';
    }
    if (code !== 0) {
        throw 'the webhook refused the message: ' + short(String(answer));
    }
}

told(JSON.parse(value));
return 'OK';
